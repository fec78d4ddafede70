#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "confine.h"
#include "keeper.h"
#include "keeper_channel.h"
#include "keeper_state.h"
#include "processes.h"
#include "shell_driver.h"

namespace echo {
namespace {

[[noreturn]] void give_up(const char* what) {
  reply(kKeeperFailed, std::string(what) + ": " + strerror(errno));
  _exit(1);
}

bool map_user(int proc_fd) {
  const auto put = [proc_fd](const char* path, const char* text) {
    int fd = openat(proc_fd, path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) > 0;
    if (fd >= 0) close(fd);
    return ok;
  };
  return put("self/setgroups", "deny") && put("self/uid_map", "1000 1000 1") && put("self/gid_map", "1000 1000 1");
}

void mount_private(const char* path, const Isolation& isolation, uid_t uid, bool own_user) {
  char options[128];
  int length = snprintf(options, sizeof(options), "size=%um,nr_inodes=16384,mode=700", isolation.limits.disk_mib);
  if (own_user) snprintf(options + length, sizeof(options) - length, ",uid=%u,gid=%u", uid, uid);
  if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options) != 0) give_up(path);
}

template <typename Resource>  // an enumeration in one C library, an int in another
void set_limit(Resource resource, rlim_t value) {
  struct rlimit limit;
  if (getrlimit(resource, &limit) != 0) return;
  if (limit.rlim_max != RLIM_INFINITY && value > limit.rlim_max) value = limit.rlim_max;
  limit = {value, value};
  setrlimit(resource, &limit);
}

void set_limits(const KeeperState& state) {
  const Isolation& isolation = *state.isolation;
  const SandboxLimits& limits = isolation.limits;
  set_limit(RLIMIT_CORE, 0);
  set_limit(RLIMIT_FSIZE, rlim_t{limits.disk_mib} << 20);
  set_limit(RLIMIT_NOFILE, 256);
  set_limit(RLIMIT_CPU, 600);
  set_limit(RLIMIT_AS, rlim_t{limits.memory_mib} << 20);
  // Where the kernel counts all processes of the user, ours among them, leave room for those and for other sandboxes.
  rlim_t processes = limits.processes;
  if (!isolation.counts_processes_alone) {
    processes += static_cast<rlim_t>(threads_of_user(isolation.proc_fd, geteuid())) + 1024;
  }
  set_limit(RLIMIT_NPROC, processes);
}

void drop_capabilities() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  syscall(SYS_capset, &header, none);
}

void make_ruleset(KeeperState& state) {
  const char* const fixed_readable[] = {"/", nullptr};
  const char* const fixed_writable[] = {kVisibleRoot, "/tmp", "/dev/null", nullptr};
  const char* const host_readable[] = {"/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", nullptr};
  const char* const host_writable[] = {state.root.c_str(), "/dev/null", nullptr};
  state.ruleset = state.isolation->namespaces ? make_landlock_ruleset(fixed_readable, fixed_writable)
                                              : make_landlock_ruleset(host_readable, host_writable);
  if (state.ruleset < 0) give_up("landlock");
}

}  // namespace

void prepare(KeeperState& state, unsigned slot) {
  const Isolation& isolation = *state.isolation;
  state.root = sandbox_root(isolation, slot);
  state.supervisor = getppid();
  state.changes_user = isolation.uid_per_sandbox;
  state.uid = isolation.first_uid + slot;
  if (isolation.user_namespace && !map_user(isolation.proc_fd)) give_up("user namespace map");
  if (isolation.namespaces) {
    mount_private(kVisibleRoot, isolation, state.uid, state.changes_user);
    mount_private("/tmp", isolation, state.uid, state.changes_user);
  } else {
    if (mkdir(state.root.c_str(), 0700) != 0) give_up(state.root.c_str());
    if (state.changes_user && chown(state.root.c_str(), state.uid, state.uid) != 0) give_up(state.root.c_str());
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  }
  umask(022);
  int root = open(state.root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) give_up("root directory");
  if (isolation.landlock) make_ruleset(state);
  if (isolation.namespaces) {
    close(isolation.proc_fd);
    if (state.changes_user) {
      if (setgroups(0, nullptr) != 0 || setresgid(state.uid, state.uid, state.uid) != 0 ||
          setresuid(state.uid, state.uid, state.uid) != 0) {
        give_up("unprivileged user");
      }
    }
    drop_capabilities();
    // A change of credentials forgets it.
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    // Nothing the sandbox runs may look into its keeper.
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (state.ruleset >= 0 && !apply_landlock(state.ruleset)) give_up("landlock");
    if (isolation.seccomp && !apply_seccomp()) give_up("seccomp");
  }
  set_limits(state);
  state.driver = shell_driver(state.root, isolation.namespaces);
  state.home = "HOME=" + state.root;
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  state.signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  reply(kKeeperReady, {}, root);
  close(root);
}

}  // namespace echo
