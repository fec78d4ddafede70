#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

#include "files.h"
#include "keeper.h"
#include "keeper_channel.h"
#include "processes.h"
#include "protocol.h"

namespace echo {
namespace {

enum class Phase { kStarting, kIdle, kExec, kOnce, kKilling, kDestroying };

// What an epoll event is about, in the low bits of its tag; the sandbox stands above.
enum class Channel : uint64_t { kRequests, kReplies, kSignals, kKeeper, kCommands, kOutput, kOnce, kControl };

// How long a keeper may take over an order to kill before it is killed itself.
constexpr int64_t kPatienceUs = 5000000;

int64_t now_us() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1000000 + time.tv_nsec / 1000;
}

void close_fd(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

struct Box {
  uint32_t id = 0;
  unsigned slot = 0;
  Keeper keeper;
  int root_fd = -1;
  // Ends of the running shell or script; closing one takes it out of the epoll set.
  int command_fd = -1, output_fd = -1, control_fd = -1;
  // Output of a script; the persistent shell's waits meanwhile.
  int once_fd = -1;
  Phase phase = Phase::kStarting;
  bool shell_runs = false, shell_gone = false, once_ran = false;
  uint32_t call = 0;  // the call being answered
  uint32_t destroy_call = 0;
  int64_t deadline = 0;
  uint8_t flags = 0;
  size_t cap = 0;
  std::string output, cwd, control, unsent;

  ~Box() {
    for (int* fd : {&keeper.socket, &root_fd, &command_fd, &output_fd, &control_fd, &once_fd}) close_fd(*fd);
  }
};

class Supervisor {
 public:
  explicit Supervisor(const Isolation& isolation) : isolation_(isolation) {}
  int run();

 private:
  void watch(int fd, uint32_t events, uint32_t id, Channel channel, int operation = EPOLL_CTL_ADD);
  void begin_reply(ReplyKind kind, uint32_t call);
  void end_reply();
  void ok(uint32_t call, std::string_view payload = {});
  void error(uint32_t call, ErrorCode code, std::string_view text);
  void flush();

  bool read_requests();
  void handle(std::string_view request);
  void create(uint32_t call, uint32_t id);
  void exec(Box& box, uint32_t call, Operation operation, PayloadReader reader);
  void start_shell(Box& box);
  void start_once(Box& box, std::string_view script);
  void send_commands(Box& box);
  void write_file(Box& box, uint32_t call, PayloadReader reader);
  void read_file(Box& box, uint32_t call, std::string_view path);
  void destroy(Box& box, uint32_t call);
  void usage(uint32_t call);
  void cancel(uint32_t call);

  void keeper_event(Box& box);
  void control_event(Box& box);
  void read_output(Box& box, int& fd, bool to_the_end);
  void stop_command(Box& box, uint8_t flag);
  void finish(Box& box, int exit_code);
  void lose(Box& box, ErrorCode code, std::string_view text);
  void close_shell(Box& box);
  void kill_orphans();
  void reap();
  int next_timeout() const;
  void run_deadlines();
  int shut_down();

  const Isolation& isolation_;
  int epoll_ = -1, signals_ = -1;
  // Lowest slots first, so that they stay below the number of uids.
  std::set<unsigned> free_slots_;
  unsigned slots_ = 0;
  bool replies_watched_ = false, reader_gone_ = false;
  std::string input_, replies_;
  size_t reply_start_ = 0;
  std::unordered_map<uint32_t, std::unique_ptr<Box>> boxes_;
  std::unordered_map<pid_t, uint32_t> keepers_;
  std::set<std::pair<int64_t, uint32_t>> deadlines_;
};

void Supervisor::watch(int fd, uint32_t events, uint32_t id, Channel channel, int operation) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = uint64_t{id} << 8 | static_cast<uint64_t>(channel);
  epoll_ctl(epoll_, operation, fd, &event);
}

void Supervisor::begin_reply(ReplyKind kind, uint32_t call) {
  reply_start_ = replies_.size();
  put_u32(replies_, 0);
  put_u8(replies_, static_cast<uint8_t>(kind));
  put_u32(replies_, call);
}

void Supervisor::end_reply() {
  std::string length;
  put_u32(length, static_cast<uint32_t>(replies_.size() - reply_start_ - 4));
  replies_.replace(reply_start_, 4, length);
}

void Supervisor::ok(uint32_t call, std::string_view payload) {
  begin_reply(ReplyKind::kOk, call);
  replies_ += payload;
  end_reply();
}

void Supervisor::error(uint32_t call, ErrorCode code, std::string_view text) {
  begin_reply(ReplyKind::kError, call);
  put_u8(replies_, static_cast<uint8_t>(code));
  replies_ += text;
  end_reply();
}

void Supervisor::flush() {
  size_t sent = 0;
  while (sent < replies_.size()) {
    ssize_t n = write(1, replies_.data() + sent, replies_.size() - sent);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) reader_gone_ = true;
    if (n < 0) break;
    sent += static_cast<size_t>(n);
  }
  replies_.erase(0, sent);
  bool waiting = !replies_.empty();
  if (waiting != replies_watched_) {
    watch(1, waiting ? uint32_t{EPOLLOUT} : 0u, 0, Channel::kReplies, EPOLL_CTL_MOD);
    replies_watched_ = waiting;
  }
}

bool Supervisor::read_requests() {
  char buffer[65536];
  ssize_t n = read(0, buffer, sizeof(buffer));
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n == 0) return false;
  input_.append(buffer, static_cast<size_t>(n));
  size_t start = 0;
  while (input_.size() - start >= 4) {
    PayloadReader head = {std::string_view(input_).substr(start)};
    uint32_t length = head.u32();
    if (input_.size() - start - 4 < length) break;
    handle(std::string_view(input_).substr(start + 4, length));
    start += 4 + length;
  }
  input_.erase(0, start);
  return true;
}

void Supervisor::handle(std::string_view request) {
  PayloadReader reader = {request};
  std::string_view first = reader.bytes(1);
  uint32_t call = reader.u32(), id = reader.u32();
  if (!reader.ok) return;
  Operation operation = static_cast<Operation>(first[0]);
  if (operation == Operation::kCreate) return create(call, id);
  if (operation == Operation::kUsage) return usage(call);
  if (operation == Operation::kCancel) return cancel(call);
  auto found = boxes_.find(id);
  if (found == boxes_.end()) {
    // Ended is what was asked for.
    if (operation == Operation::kDestroy) return ok(call);
    return error(call, ErrorCode::kGone, "the sandbox is gone");
  }
  Box& box = *found->second;
  if (box.phase == Phase::kDestroying) return error(call, ErrorCode::kDisposed, "the sandbox was disposed of");
  switch (operation) {
    case Operation::kExec:
    case Operation::kExecOnce:
      return exec(box, call, operation, reader);
    case Operation::kReadFile:
      return read_file(box, call, reader.rest);
    case Operation::kWriteFile:
      return write_file(box, call, reader);
    case Operation::kDestroy:
      return destroy(box, call);
    default:
      return error(call, ErrorCode::kLimit, "unknown operation");
  }
}

void Supervisor::create(uint32_t call, uint32_t id) {
  if (free_slots_.empty()) {
    if (isolation_.uid_per_sandbox && slots_ == kUidsPerSupervisor) {
      return error(call, ErrorCode::kLimit, "more than 300 sandboxes at once");
    }
    free_slots_.insert(slots_++);
  }
  auto box = std::make_unique<Box>();
  box->id = id;
  box->slot = *free_slots_.begin();
  box->call = call;
  std::string reason;
  if (!start_keeper(isolation_, box->slot, box->keeper, reason)) return error(call, ErrorCode::kStart, reason);
  watch(box->keeper.socket, EPOLLIN, id, Channel::kKeeper);
  keepers_[box->keeper.pid] = id;
  free_slots_.erase(box->slot);
  boxes_[id] = std::move(box);
}

void Supervisor::exec(Box& box, uint32_t call, Operation operation, PayloadReader reader) {
  uint32_t timeout_ms = reader.u32(), cap = reader.u32();
  std::string_view text = reader.rest;
  if (box.phase != Phase::kIdle) return error(call, ErrorCode::kLimit, "another command is running");
  if (text.find('\0') != std::string_view::npos) return error(call, ErrorCode::kLimit, "NUL in a command");
  if (operation == Operation::kExec && box.shell_gone) return error(call, ErrorCode::kGone, "the shell has ended");
  if (operation == Operation::kExecOnce && text.size() > kMaxScriptBytes) {
    return error(call, ErrorCode::kLimit, "script longer than 120 KiB");
  }
  box.call = call;
  box.cap = cap;
  box.flags = 0;
  box.once_ran = operation == Operation::kExecOnce;
  box.output.clear();
  box.deadline = now_us() + int64_t{timeout_ms} * 1000;
  deadlines_.emplace(box.deadline, box.id);
  if (operation == Operation::kExec) {
    box.phase = Phase::kExec;
    if (!box.shell_runs) start_shell(box);
    if (box.phase != Phase::kExec) return;
    box.unsent.assign(text);
    box.unsent.push_back('\0');
    send_commands(box);
  } else {
    box.phase = Phase::kOnce;
    start_once(box, text);
  }
}

void Supervisor::start_shell(Box& box) {
  int commands[2] = {-1, -1}, output[2] = {-1, -1}, control[2] = {-1, -1};
  bool made = pipe2(commands, O_CLOEXEC) == 0 && pipe2(output, O_CLOEXEC) == 0 && pipe2(control, O_CLOEXEC) == 0;
  const int theirs[3] = {commands[0], output[1], control[1]};
  if (box.cwd.empty()) box.cwd = sandbox_root(isolation_, box.slot);
  made = made && send_to_keeper(box.keeper.socket, kKeeperShell, box.cwd, theirs, 3);
  box.command_fd = commands[1];
  box.output_fd = output[0];
  box.control_fd = control[0];
  for (int fd : theirs) {
    if (fd >= 0) close(fd);
  }
  if (!made) return lose(box, ErrorCode::kLimit, "cannot start a shell");
  for (int fd : {box.command_fd, box.output_fd, box.control_fd}) fcntl(fd, F_SETFL, O_NONBLOCK);
  watch(box.command_fd, 0, box.id, Channel::kCommands);
  watch(box.output_fd, EPOLLIN, box.id, Channel::kOutput);
  watch(box.control_fd, EPOLLIN, box.id, Channel::kControl);
  box.control.clear();
  box.shell_runs = true;
}

void Supervisor::start_once(Box& box, std::string_view script) {
  int output[2] = {-1, -1};
  bool made = pipe2(output, O_CLOEXEC) == 0;
  made = made && send_to_keeper(box.keeper.socket, kKeeperOnce, script, &output[1], 1);
  box.once_fd = output[0];
  close_fd(output[1]);
  if (!made) return lose(box, ErrorCode::kLimit, "cannot start a script");
  fcntl(box.once_fd, F_SETFL, O_NONBLOCK);
  watch(box.once_fd, EPOLLIN, box.id, Channel::kOnce);
}

void Supervisor::send_commands(Box& box) {
  size_t sent = 0;
  while (sent < box.unsent.size()) {
    ssize_t n = write(box.command_fd, box.unsent.data() + sent, box.unsent.size() - sent);
    if (n < 0) break;
    sent += static_cast<size_t>(n);
  }
  bool was_waiting = sent == 0;
  box.unsent.erase(0, sent);
  if (!box.unsent.empty()) {
    watch(box.command_fd, EPOLLOUT, box.id, Channel::kCommands, EPOLL_CTL_MOD);
  } else if (was_waiting || sent > 65536) {
    watch(box.command_fd, 0, box.id, Channel::kCommands, EPOLL_CTL_MOD);
  }
}

void Supervisor::read_file(Box& box, uint32_t call, std::string_view path) {
  if (box.root_fd < 0) return error(call, ErrorCode::kGone, "the sandbox is not ready");
  std::string reason;
  begin_reply(ReplyKind::kOk, call);
  std::string bytes;
  if (read_file_beneath(box.root_fd, path, kMaxFileBytes, bytes, reason)) {
    replies_ += bytes;
    return end_reply();
  }
  replies_.resize(reply_start_);
  error(call, ErrorCode::kPath, reason);
}

void Supervisor::write_file(Box& box, uint32_t call, PayloadReader reader) {
  if (box.root_fd < 0) return error(call, ErrorCode::kGone, "the sandbox is not ready");
  std::string_view path = reader.bytes(reader.u32());
  std::string reason;
  long owner = isolation_.uid_per_sandbox ? static_cast<long>(isolation_.first_uid + box.slot) : -1;
  if (write_file_beneath(box.root_fd, path, reader.rest, owner, reason)) return ok(call);
  error(call, ErrorCode::kPath, reason);
}

void Supervisor::destroy(Box& box, uint32_t call) {
  if (box.phase != Phase::kIdle) error(box.call, ErrorCode::kDisposed, "the sandbox was disposed of");
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

void Supervisor::usage(uint32_t call) {
  std::string payload;
  for (int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    struct rusage used;
    getrusage(who, &used);
    put_u64(payload, uint64_t(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 +
                         uint64_t(used.ru_utime.tv_usec + used.ru_stime.tv_usec));
  }
  put_u32(payload, static_cast<uint32_t>(boxes_.size()));
  ok(call, payload);
}

void Supervisor::cancel(uint32_t call) {
  for (auto& [id, box] : boxes_) {
    if (box->call == call && (box->phase == Phase::kExec || box->phase == Phase::kOnce)) {
      return stop_command(*box, kFlagCancelled);
    }
  }
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
      ok(box.call);
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

void Supervisor::control_event(Box& box) {
  char buffer[8192];
  ssize_t n = read(box.control_fd, buffer, sizeof(buffer));
  if (n == 0) close_fd(box.control_fd);
  if (n <= 0) return;
  box.control.append(buffer, static_cast<size_t>(n));
  size_t end = box.control.find('\0');
  if (end == std::string::npos) return;
  std::string report = box.control.substr(0, end);
  box.control.clear();
  if (box.phase != Phase::kExec) return;
  size_t space = report.find(' ');
  if (space != std::string::npos && report.size() > space + 1 && report[space + 1] == '/') {
    box.cwd = report.substr(space + 1);
  }
  finish(box, atoi(report.c_str()));
}

void Supervisor::read_output(Box& box, int& fd, bool to_the_end) {
  // Larger than a pipe holds: a short read has emptied it.
  static char buffer[1 << 17];
  while (fd >= 0) {
    ssize_t n = read(fd, buffer, sizeof(buffer));
    if (n == 0) close_fd(fd);
    if (n <= 0) return;
    size_t room = box.cap - box.output.size(), taken = static_cast<size_t>(n);
    if (taken > room) {
      taken = room;
      box.flags |= kFlagTruncated;
    }
    box.output.append(buffer, taken);
    if (!to_the_end || static_cast<size_t>(n) < sizeof(buffer)) return;
  }
}

void Supervisor::stop_command(Box& box, uint8_t flag) {
  deadlines_.erase({box.deadline, box.id});
  box.flags |= flag;
  box.phase = Phase::kKilling;
  box.deadline = now_us() + kPatienceUs;
  deadlines_.emplace(box.deadline, box.id);
  if (!send_to_keeper(box.keeper.socket, kKeeperKill, {}, nullptr, 0)) kill(box.keeper.pid, SIGKILL);
}

void Supervisor::finish(Box& box, int exit_code) {
  read_output(box, box.once_ran ? box.once_fd : box.output_fd, true);
  box.phase = Phase::kIdle;
  close_fd(box.once_fd);
  deadlines_.erase({box.deadline, box.id});
  // Below the root the answer is relative to it; elsewhere it is the whole path.
  std::string root = sandbox_root(isolation_, box.slot);
  std::string_view cwd = box.once_ran ? std::string_view() : box.cwd;
  if (cwd == root) cwd = {};
  else if (cwd.substr(0, root.size() + 1) == root + "/") cwd.remove_prefix(root.size() + 1);
  begin_reply(ReplyKind::kOk, box.call);
  put_u32(replies_, static_cast<uint32_t>(exit_code));
  put_u8(replies_, box.flags);
  put_u32(replies_, static_cast<uint32_t>(cwd.size()));
  replies_ += cwd;
  replies_ += box.output;
  end_reply();
  box.output.clear();
}

// The call in flight fails; the sandbox stays until it is destroyed.
void Supervisor::lose(Box& box, ErrorCode code, std::string_view text) {
  deadlines_.erase({box.deadline, box.id});
  close_fd(box.once_fd);
  box.phase = Phase::kIdle;
  error(box.call, code, text);
}

void Supervisor::close_shell(Box& box) {
  for (int* fd : {&box.command_fd, &box.output_fd, &box.control_fd}) close_fd(*fd);
  box.unsent.clear();
  box.shell_runs = false;
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
      ok(box.destroy_call);
    } else if (box.phase != Phase::kIdle) {
      error(box.call, box.phase == Phase::kStarting ? ErrorCode::kStart : ErrorCode::kGone, "the sandbox has died");
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
  begin_reply(ReplyKind::kHello, 0);
  replies_ += layer_names(isolation_);
  end_reply();
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
    if (reader_gone_) return shut_down();
  }
}

}  // namespace

int run_supervisor(const Isolation& isolation) { return Supervisor(isolation).run(); }

}  // namespace echo
