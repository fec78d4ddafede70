#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include <string>
#include <vector>

#include "files.h"
#include "keeper_channel.h"
#include "processes.h"

namespace echo {

void Supervisor::watch(int fd, uint32_t events, uint32_t id, Channel channel, int operation) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = uint64_t{id} << 8 | static_cast<uint64_t>(channel);
  epoll_ctl(epoll_, operation, fd, &event);
}

void Supervisor::flush() {
  bool waiting = wire_.flush();
  if (waiting == replies_watched_) return;
  watch(1, waiting ? uint32_t{EPOLLOUT} : 0u, 0, Channel::kReplies, EPOLL_CTL_MOD);
  replies_watched_ = waiting;
}

bool Supervisor::read_requests() {
  bool more = wire_.receive();
  for (std::string_view request; wire_.next(request);) handle(request);
  return more;
}

void Supervisor::create(uint32_t call, uint32_t id) {
  if (free_slots_.empty()) {
    if (isolation_.uid_per_sandbox && slots_ == kUidsPerSupervisor) {
      return wire_.error(call, ErrorCode::kLimit, "more than 300 sandboxes at once");
    }
    free_slots_.insert(slots_++);
  }
  auto box = std::make_unique<Box>();
  box->id = id;
  box->slot = *free_slots_.begin();
  box->call = call;
  std::string reason;
  if (!start_keeper(isolation_, box->slot, box->keeper, reason)) return wire_.error(call, ErrorCode::kStart, reason);
  watch(box->keeper.socket, EPOLLIN, id, Channel::kKeeper);
  keepers_[box->keeper.pid] = id;
  free_slots_.erase(box->slot);
  boxes_[id] = std::move(box);
}

void Supervisor::destroy(Box& box, uint32_t call) {
  if (box.phase != Phase::kIdle) wire_.error(box.call, ErrorCode::kDisposed, "the sandbox was disposed of");
  deadlines_.erase({box.deadline, box.id});
  box.phase = Phase::kDestroying;
  box.destroy_call = call;
  close_shell(box);
  close_fd(box.once_fd);
  close_fd(box.root_fd);
  // The keeper kills and reaps, so that what its processes used is counted; one that does not is killed.
  close_fd(box.keeper.socket);
  box.deadline = now_us() + kPatienceUs;
  deadlines_.emplace(box.deadline, box.id);
}

void Supervisor::keeper_event(Box& box) {
  KeeperReply reply;
  if (!receive_from_keeper(box.keeper.socket, reply)) {
    // Gone; reap() tells the callers.
    if (errno != EAGAIN) close_fd(box.keeper.socket);
    return;
  }
  switch (reply.kind) {
    case kKeeperReady:
      box.root_fd = reply.fd;
      box.phase = Phase::kIdle;
      wire_.ok(box.call);
      break;
    case kKeeperFailed:
      lose(box, ErrorCode::kStart, reply.text);
      break;
    case kKeeperShellDied:
      // Its last report may still wait in the pipe.
      if (box.phase == Phase::kExec) control_event(box);
      box.shell_gone = true;
      if (box.phase == Phase::kExec) lose(box, ErrorCode::kGone, "the shell has ended");
      close_shell(box);
      break;
    case kKeeperOnceDied:
      if (box.phase == Phase::kOnce) finish(box, atoi(reply.text.c_str()));
      break;
    case kKeeperKilled:
      if (box.phase == Phase::kKilling) finish(box, kTimeoutExitCode);
      close_shell(box);
      break;
  }
}

void Supervisor::kill_orphans() {
  std::vector<pid_t> keepers;
  for (const auto& [pid, id] : keepers_) keepers.push_back(pid);
  kill_descendants(isolation_.proc_fd, getpid(), keepers);
}

void Supervisor::reap() {
  for (pid_t pid; (pid = waitpid(-1, nullptr, WNOHANG)) > 0;) {
    auto found = keepers_.find(pid);
    if (found == keepers_.end()) continue;
    uint32_t id = found->second;
    keepers_.erase(found);
    Box& box = *boxes_[id];
    if (!isolation_.namespaces) {
      // What a murdered keeper left behind is ours now.
      if (box.phase != Phase::kDestroying) kill_orphans();
      remove_tree(AT_FDCWD, sandbox_root(isolation_, box.slot).c_str());
    }
    deadlines_.erase({box.deadline, id});
    if (box.phase == Phase::kDestroying) {
      wire_.ok(box.destroy_call);
    } else if (box.phase != Phase::kIdle) {
      wire_.error(box.call, box.phase == Phase::kStarting ? ErrorCode::kStart : ErrorCode::kGone, "the sandbox has died");
    }
    free_slots_.insert(box.slot);
    boxes_.erase(id);
  }
}

int Supervisor::next_timeout() const {
  if (deadlines_.empty()) return -1;
  int64_t left = deadlines_.begin()->first - now_us();
  return left <= 0 ? 0 : static_cast<int>(left / 1000 + 1);
}

void Supervisor::run_deadlines() {
  int64_t now = now_us();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    Box& box = *boxes_[deadlines_.begin()->second];
    if (box.phase == Phase::kExec || box.phase == Phase::kOnce) {
      stop_command(box, kFlagTimedOut);
    } else {
      deadlines_.erase(deadlines_.begin());
      kill(box.keeper.pid, SIGKILL);
    }
  }
}

int Supervisor::shut_down() {
  for (auto& [id, box] : boxes_) {
    if (box->phase != Phase::kDestroying) destroy(*box, 0);
  }
  for (int round = 0; round < 900 && !keepers_.empty(); round++) {
    reap();
    if (!keepers_.empty()) usleep(1000);
  }
  for (const auto& [pid, id] : keepers_) kill(pid, SIGKILL);
  keepers_.clear();
  if (!isolation_.namespaces) {
    kill_orphans();
    remove_tree(AT_FDCWD, isolation_.base.c_str());
  }
  return 0;
}

int Supervisor::run() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int number : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, number);
  signals_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (signals_ < 0 || epoll_ < 0) return 1;
  for (int fd : {0, 1}) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  watch(signals_, EPOLLIN, 0, Channel::kSignals);
  watch(0, EPOLLIN, 0, Channel::kRequests);
  watch(1, 0, 0, Channel::kReplies);
  wire_.begin(ReplyKind::kHello, 0);
  wire_.body() += layer_names(isolation_);
  wire_.end();
  flush();
  for (;;) {
    epoll_event events[128];
    int count = epoll_wait(epoll_, events, 128, next_timeout());
    bool children = false;
    for (int i = 0; i < count; i++) {
      Channel channel = static_cast<Channel>(events[i].data.u64 & 0xff);
      if (channel == Channel::kRequests && !read_requests()) return shut_down();
      if (channel == Channel::kReplies && (events[i].events & (EPOLLHUP | EPOLLERR)) != 0) return shut_down();
      if (channel == Channel::kSignals) {
        signalfd_siginfo info;
        while (read(signals_, &info, sizeof(info)) > 0) {
          if (info.ssi_signo != SIGCHLD) return shut_down();
        }
        children = true;
      }
      auto found = boxes_.find(static_cast<uint32_t>(events[i].data.u64 >> 8));
      if (channel < Channel::kKeeper || found == boxes_.end()) continue;
      Box& box = *found->second;
      if (channel == Channel::kKeeper && box.keeper.socket >= 0) keeper_event(box);
      if (channel == Channel::kCommands && box.command_fd >= 0) {
        // An error here is a dead shell; the keeper reports it.
        if ((events[i].events & EPOLLERR) != 0) close_fd(box.command_fd);
        else send_commands(box);
      }
      if (channel == Channel::kOutput) read_output(box, box.output_fd, false);
      if (channel == Channel::kOnce) read_output(box, box.once_fd, false);
      if (channel == Channel::kControl && box.control_fd >= 0) control_event(box);
    }
    // After the events, because it frees sandboxes.
    if (children) reap();
    run_deadlines();
    flush();
    if (wire_.reader_gone()) return shut_down();
  }
}

}  // namespace echo
