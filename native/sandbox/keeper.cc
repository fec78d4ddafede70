#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confine.h"
#include "files.h"
#include "keeper_channel.h"
#include "keeper_state.h"
#include "processes.h"

namespace echo {
namespace {

void close_from(unsigned first) {
  if (syscall(436 /* close_range */, first, ~0u, 0) == 0) return;
  struct rlimit limit;
  unsigned last = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? static_cast<unsigned>(limit.rlim_cur) : 65536;
  for (unsigned fd = first; fd < last; fd++) close(static_cast<int>(fd));
}

// Runs between vfork and exec, in memory shared with the keeper: system calls only.
[[noreturn]] void become_shell(const KeeperState& state, char* const* arguments, char* const* environment, const char* cwd,
                               const int* fds, int count) {
  const Isolation& isolation = *state.isolation;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  setsid();
  int output = fds[count == 3 ? 1 : 0];
  dup2(output, 1);
  dup2(output, 2);
  if (count == 3) {
    dup2(fds[0], 3);
    dup2(fds[2], 4);
  }
  if (!isolation.namespaces) {
    if (state.changes_user) {
      if (syscall(SYS_setgroups, 0, nullptr) != 0 || syscall(SYS_setresgid, state.uid, state.uid, state.uid) != 0 ||
          syscall(SYS_setresuid, state.uid, state.uid, state.uid) != 0) {
        _exit(126);
      }
    }
    if (state.ruleset >= 0 && !apply_landlock(state.ruleset)) _exit(126);
    if (isolation.seccomp && !apply_seccomp()) _exit(126);
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (chdir(cwd) != 0 && chdir(state.root.c_str()) != 0) _exit(126);
  execve(isolation.bash.c_str(), arguments, environment);
  _exit(127);
}

pid_t start_shell(const KeeperState& state, const char* script, const char* cwd, const int* fds, int count) {
  char path[] = "PATH=/usr/bin:/bin", locale[] = "LC_ALL=C", zone[] = "TZ=UTC";
  char* const environment[] = {path, const_cast<char*>(state.home.c_str()), locale, zone, nullptr};
  char bash[] = "bash", no_rc[] = "--norc", no_profile[] = "--noprofile", command[] = "-c";
  char* const arguments[] = {bash, no_rc, no_profile, command, const_cast<char*>(script), bash, nullptr};
  pid_t pid = vfork();
  if (pid == 0) become_shell(state, arguments, environment, cwd, fds, count);
  return pid;
}

void reap(KeeperState& state) {
  int status = 0;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (pid == state.shell) {
      state.shell = 0;
      reply(kKeeperShellDied);
    } else if (pid == state.once) {
      state.once = 0;
      reply(kKeeperOnceDied, std::to_string(code));
    }
  }
}

// Returns when no process of the sandbox but this one is left.
void kill_everything(KeeperState& state) {
  state.shell = state.once = 0;
  const Isolation& isolation = *state.isolation;
  if (isolation.namespaces) {
    kill(-1, SIGKILL);
  } else if (state.changes_user) {
    // kill(-1) as the sandbox's own user reaches everything of that user at once.
    pid_t killer = vfork();
    if (killer == 0) {
      if (syscall(SYS_setresuid, state.uid, state.uid, state.uid) == 0) kill(-1, SIGKILL);
      _exit(0);
    }
  }
  bool all_at_once = isolation.namespaces || state.changes_user;
  for (;;) {
    if (!all_at_once) kill_descendants(isolation.proc_fd, getpid(), {});
    pid_t pid = waitpid(-1, nullptr, all_at_once ? 0 : WNOHANG);
    if (pid < 0 && errno == ECHILD) return;
    if (pid == 0) usleep(1000);
  }
}

void obey(KeeperState& state, size_t length, const int* fds, int count) {
  state.buffer[length] = 0;
  const char* text = state.buffer + 1;
  switch (state.buffer[0]) {
    case kKeeperShell:
      if (count == 3) state.shell = start_shell(state, state.driver.c_str(), text, fds, 3);
      if (state.shell <= 0) reply(kKeeperShellDied);
      break;
    case kKeeperOnce:
      if (count == 1) state.once = start_shell(state, text, state.root.c_str(), fds, 1);
      if (state.once <= 0) reply(kKeeperOnceDied, "126");
      break;
    case kKeeperKill:
      kill_everything(state);
      reply(kKeeperKilled);
      break;
  }
  for (int i = 0; i < count; i++) close(fds[i]);
}

[[noreturn]] void keep(KeeperState& state) {
  for (;;) {
    pollfd waits[2] = {{kSocketFd, POLLIN, 0}, {state.signal_fd, POLLIN, 0}};
    if (poll(waits, 2, -1) < 0) continue;
    if (waits[1].revents != 0) {
      signalfd_siginfo info;
      while (read(state.signal_fd, &info, sizeof(info)) > 0) continue;
      reap(state);
    }
    if (waits[0].revents == 0) continue;
    int fds[3];
    int count = 0;
    ssize_t length = receive_message(kSocketFd, state.buffer, sizeof(state.buffer) - 1, fds, count);
    if (length > 0) obey(state, static_cast<size_t>(length), fds, count);
    if (length == 0 || (length < 0 && errno != EAGAIN && errno != EINTR)) {
      // The supervisor is gone or wants us gone.
      kill_everything(state);
      if (!state.isolation->namespaces) {
        remove_tree(AT_FDCWD, state.root.c_str());
        // A dead supervisor cannot remove what held all sandboxes; whoever is last can.
        if (getppid() != state.supervisor) rmdir(state.isolation->base.c_str());
      }
      _exit(0);
    }
  }
}

KeeperState the_state;

[[noreturn]] void run_keeper(const Isolation& isolation, unsigned slot, int socket) {
  prctl(PR_SET_PDEATHSIG, isolation.namespaces ? SIGKILL : 0, 0, 0, 0);
  setsid();
  int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; fd++) dup2(null, fd);
  // Descriptors of other sandboxes and the pipe to Node must not live on here; /proc is needed a little longer.
  int high_socket = fcntl(socket, F_DUPFD, kSocketFd + 2);
  int high_proc = fcntl(isolation.proc_fd, F_DUPFD, kSocketFd + 2);
  dup2(high_socket, kSocketFd);
  if (high_proc < 0 || dup2(high_proc, kSocketFd + 1) < 0) close(kSocketFd + 1);
  close_from(kSocketFd + 2);
  fcntl(kSocketFd, F_SETFD, FD_CLOEXEC);
  fcntl(kSocketFd + 1, F_SETFD, FD_CLOEXEC);
  static Isolation own;
  own = isolation;
  own.proc_fd = kSocketFd + 1;
  the_state.isolation = &own;
  prepare(the_state, slot);
  keep(the_state);
}

}  // namespace

void reply(char kind, std::string_view text, int fd) {
  send_to_keeper(kSocketFd, kind, text, &fd, fd < 0 ? 0 : 1);
}

std::string sandbox_root(const Isolation& isolation, unsigned slot) {
  return isolation.namespaces ? kVisibleRoot : isolation.base + "/" + std::to_string(slot);
}

bool start_keeper(const Isolation& isolation, unsigned slot, Keeper& keeper, std::string& error) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    error = std::string("socketpair: ") + strerror(errno);
    return false;
  }
  unsigned long flags = SIGCHLD;
  if (isolation.namespaces) flags |= CLONE_NEWPID | CLONE_NEWNS;
  if (isolation.user_namespace) flags |= CLONE_NEWUSER;
  long pid = syscall(SYS_clone, flags, 0, 0, 0, 0);
  if (pid == 0) run_keeper(isolation, slot, ends[1]);
  if (pid < 0) error = std::string("clone: ") + strerror(errno);
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    return false;
  }
  keeper.pid = static_cast<pid_t>(pid);
  keeper.socket = ends[0];
  return true;
}

}  // namespace echo
