#include "isolation.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "confine.h"
#include "keeper.h"
#include "keeper_channel.h"

namespace echo {
namespace {

constexpr uid_t kNobody = 65534;
// The user that commands see, whoever they are outside.
constexpr unsigned kInsideUid = 1000;

bool allows(const std::string& allowed, const char* name) {
  if (allowed == "all") return true;
  for (size_t at = 0; at <= allowed.size();) {
    size_t end = std::min(allowed.find(',', at), allowed.size());
    if (allowed.compare(at, end - at, name) == 0) return true;
    at = end + 1;
  }
  return false;
}

bool fail(std::string& error, const char* what) {
  error = std::string(what) + ": " + strerror(errno);
  return false;
}

bool write_text(int directory, const char* path, const std::string& text) {
  int fd = openat(directory, path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool ok = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  close(fd);
  return ok;
}

bool become_nobody() {
  if (setgroups(0, nullptr) != 0 || setresgid(kNobody, kNobody, kNobody) != 0) return false;
  if (setresuid(kNobody, kNobody, kNobody) != 0) return false;
  // A change of user hides /proc/self from us and forgets the death signal; both are needed.
  return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0;
}

bool can_become(uid_t uid) {
  pid_t child = fork();
  if (child == 0) _exit(setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0 ? 0 : 1);
  int status = 1;
  return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

// Claims a block of uids against other supervisors: an abstract socket is free again when its owner ends, however it ends.
bool claim_uids(Isolation& isolation) {
  // Both ranges are kept free by convention; a container may map only the lower one.
  constexpr uid_t kFirst = 65600, kLast = 524000, kLow = 60578, kLowEnd = 61183;
  const auto claim = [&isolation](uid_t first) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    int length = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "echo-grpo-sandbox-%u", first);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    socklen_t size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1) + static_cast<socklen_t>(length);
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0) {
      isolation.first_uid = first;
      return true;
    }
    close(fd);
    return false;
  };
  bool high = can_become(kLast);
  uid_t first = high ? kFirst : kLow, last = high ? kLast : kLowEnd;
  if (!high && !can_become(kLowEnd)) return false;
  for (; first + kUidsPerSupervisor <= last; first += kUidsPerSupervisor) {
    if (claim(first)) return true;
  }
  return false;
}

bool touch(const std::string& path) {
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
  if (fd < 0) return false;
  close(fd);
  return true;
}

// Recursive where the kernel can (5.12), else the top mount alone; what other users own stays unwritable either way.
void make_read_only(const char* path, bool recursive) {
  struct MountAttributes {
    uint64_t set, clear, propagation, user_namespace;
  } attributes = {1 | 2, 0, 0, 0};  // MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID
  unsigned flags = recursive ? 0x8000 : 0;  // AT_RECURSIVE
  if (syscall(442, AT_FDCWD, path, flags, &attributes, sizeof(attributes)) == 0) return;
  struct statvfs info;
  if (statvfs(path, &info) != 0) return;
  // Inside a user namespace the flags of the host's mount must be kept.
  unsigned long kept = info.f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME);
  mount(nullptr, path, nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | kept, nullptr);
}

// A small tree with programs and libraries, /dev/null, and empty places for each sandbox to mount its own; then it is `/`.
bool enter_template(const std::string& mount_point, std::string& error) {
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return fail(error, "private mounts");
  const char* at = mount_point.c_str();
  if (mount("tmpfs", at, "tmpfs", MS_NOSUID, "size=1m,nr_inodes=256,mode=755") != 0) return fail(error, "tmpfs");
  if (chdir(at) != 0) return fail(error, "chdir");
  for (const char* name : {"usr", "bin", "lib", "lib64", "lib32", "sbin"}) {
    std::string source = std::string("/") + name;
    struct stat info;
    if (lstat(source.c_str(), &info) != 0) continue;
    if (S_ISLNK(info.st_mode)) {
      char target[256];
      ssize_t length = readlink(source.c_str(), target, sizeof(target) - 1);
      if (length <= 0) continue;
      target[length] = 0;
      if (symlink(target, name) != 0) return fail(error, name);
    } else if (S_ISDIR(info.st_mode)) {
      if (mkdir(name, 0755) != 0) return fail(error, name);
      if (mount(source.c_str(), name, nullptr, MS_BIND | MS_REC, nullptr) != 0) return fail(error, name);
      make_read_only(name, true);
    }
  }
  if (mkdir("etc", 0755) != 0 || mkdir("dev", 0755) != 0 || mkdir("tmp", 0755) != 0 || mkdir("home", 0755) != 0 ||
      mkdir("home/agent", 0755) != 0 || mkdir("old", 0755) != 0) {
    return fail(error, "mkdir");
  }
  if (access("/etc/ld.so.cache", R_OK) == 0 && touch("etc/ld.so.cache") &&
      mount("/etc/ld.so.cache", "etc/ld.so.cache", nullptr, MS_BIND, nullptr) == 0) {
    make_read_only("etc/ld.so.cache", false);
  }
  if (!touch("dev/null") || mount("/dev/null", "dev/null", nullptr, MS_BIND, nullptr) != 0) {
    return fail(error, "/dev/null");
  }
  if (syscall(SYS_pivot_root, ".", "old") != 0) return fail(error, "pivot_root");
  if (chdir("/") != 0 || umount2("/old", MNT_DETACH) != 0) return fail(error, "leaving the old root");
  rmdir("/old");
  make_read_only("/", false);
  return true;
}

bool enter_user_namespace(Isolation& isolation, std::string& error) {
  if (geteuid() == 0 && isolation.unprivileged_uid && !become_nobody()) return fail(error, "unprivileged user");
  std::string uid = std::to_string(kInsideUid) + " " + std::to_string(geteuid()) + " 1";
  std::string gid = std::to_string(kInsideUid) + " " + std::to_string(getegid()) + " 1";
  if (unshare(CLONE_NEWUSER) != 0) return fail(error, "user namespace");
  if (!write_text(isolation.proc_fd, "self/setgroups", "deny") || !write_text(isolation.proc_fd, "self/uid_map", uid) ||
      !write_text(isolation.proc_fd, "self/gid_map", gid)) {
    return fail(error, "user namespace map");
  }
  return true;
}

bool apply(Isolation& isolation, const std::string& temporary_directory, std::string& error) {
  if (isolation.uid_per_sandbox && !claim_uids(isolation)) {
    isolation.uid_per_sandbox = isolation.unprivileged_uid = isolation.counts_processes_alone = false;
  }
  if (isolation.namespaces) {
    if (isolation.user_namespace && !enter_user_namespace(isolation, error)) return false;
    if (unshare(CLONE_NEWNS) != 0) return fail(error, "mount namespace");
    if (isolation.network_namespace) isolation.network_namespace = unshare(CLONE_NEWNET) == 0;
    if (isolation.ipc_namespace) isolation.ipc_namespace = unshare(CLONE_NEWIPC) == 0;
    if (isolation.uts_namespace) {
      isolation.uts_namespace = unshare(CLONE_NEWUTS) == 0 && sethostname("sandbox", 7) == 0;
    }
    if (!enter_template(temporary_directory, error)) return false;
    isolation.base = kVisibleRoot;
  } else {
    // Links resolved, so that the shell's $PWD starts with this text.
    char resolved[PATH_MAX];
    if (realpath(temporary_directory.c_str(), resolved) == nullptr) return fail(error, temporary_directory.c_str());
    std::string pattern = std::string(resolved) + "/echo-grpo-sandbox-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) return fail(error, pattern.c_str());
    if (chmod(pattern.c_str(), 0711) != 0) return fail(error, pattern.c_str());
    isolation.base = pattern;
  }
  for (const char* bash : {"/usr/bin/bash", "/bin/bash"}) {
    if (!isolation.bash.empty() || access(bash, X_OK) != 0) continue;
    isolation.bash = bash;
  }
  if (isolation.bash.empty()) return fail(error, "no bash in /usr/bin or /bin");
  return true;
}

// Does one whole sandbox start this way? Tried in a child, which leaves nothing behind.
bool works(Isolation isolation, const std::string& temporary_directory, std::string& error) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail(error, "pipe");
  pid_t child = fork();
  if (child < 0) return fail(error, "fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    close(ends[0]);
    std::string reason;
    bool ok = apply(isolation, temporary_directory, reason);
    Keeper keeper;
    if (ok) ok = start_keeper(isolation, 0, keeper, reason);
    if (ok) {
      KeeperReply reply;
      pollfd ready = {keeper.socket, POLLIN, 0};
      ok = poll(&ready, 1, 5000) == 1 && receive_from_keeper(keeper.socket, reply) && reply.kind == kKeeperReady;
      if (!ok) reason = "sandbox: " + reply.text;
      kill(keeper.pid, SIGKILL);
      waitpid(keeper.pid, nullptr, 0);
    }
    if (!ok && write(ends[1], reason.data(), reason.size()) < 0) _exit(2);
    _exit(ok ? 0 : 1);
  }
  close(ends[1]);
  char text[512];
  ssize_t length = read(ends[0], text, sizeof(text));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  error = length > 0 ? std::string(text, static_cast<size_t>(length)) : "the trial ended early";
  return false;
}

}  // namespace

std::string layer_names(const Isolation& isolation) {
  std::string names;
  const auto add = [&names](bool in_force, const char* name) {
    if (in_force) names += names.empty() ? name : std::string(",") + name;
  };
  add(isolation.user_namespace, "user-namespace");
  add(isolation.namespaces, "mount-namespace");
  add(isolation.namespaces, "pid-namespace");
  add(isolation.network_namespace, "network-namespace");
  add(isolation.ipc_namespace, "ipc-namespace");
  add(isolation.uts_namespace, "uts-namespace");
  add(isolation.unprivileged_uid, "unprivileged-uid");
  add(isolation.landlock, "landlock");
  add(isolation.seccomp, "seccomp");
  add(true, "no-new-privs");
  add(true, "rlimits");
  return names;
}

bool enter_isolation(const std::string& allowed, const std::string& temporary_directory, const SandboxLimits& limits,
                     Isolation& isolation, std::string& error) {
  bool root = geteuid() == 0;
  Isolation wanted;
  wanted.limits = limits;
  wanted.proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  wanted.network_namespace = allows(allowed, "network-namespace");
  wanted.ipc_namespace = allows(allowed, "ipc-namespace");
  wanted.uts_namespace = allows(allowed, "uts-namespace");
  wanted.landlock = allows(allowed, "landlock") && landlock_version() > 0;
  wanted.seccomp = allows(allowed, "seccomp");
  if (wanted.seccomp) {
    // Tried in a child: the filter cannot be taken off again.
    pid_t child = fork();
    if (child == 0) _exit(apply_seccomp() ? 0 : 1);
    int status = 1;
    wanted.seccomp = child > 0 && waitpid(child, &status, 0) == child && status == 0;
  }
  wanted.unprivileged_uid = root && allows(allowed, "unprivileged-uid");

  std::string reason;
  if (allows(allowed, "mount-namespace") && allows(allowed, "pid-namespace")) {
    wanted.namespaces = true;
    if (allows(allowed, "user-namespace")) {
      isolation = wanted;
      isolation.user_namespace = true;
      isolation.counts_processes_alone = true;
      if (works(isolation, temporary_directory, reason)) return apply(isolation, temporary_directory, error);
    }
    if (root) {
      isolation = wanted;
      isolation.uid_per_sandbox = isolation.counts_processes_alone = wanted.unprivileged_uid;
      if (works(isolation, temporary_directory, reason)) return apply(isolation, temporary_directory, error);
    }
    wanted.namespaces = false;
  }
  wanted.network_namespace = wanted.ipc_namespace = wanted.uts_namespace = false;
  isolation = wanted;
  isolation.uid_per_sandbox = isolation.counts_processes_alone = wanted.unprivileged_uid;
  return apply(isolation, temporary_directory, error);
}

}  // namespace echo
