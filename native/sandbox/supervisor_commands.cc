#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>

#include <string>

#include "keeper_channel.h"
#include "supervisor.h"

namespace echo {

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
  wire_.begin(ReplyKind::kOk, box.call);
  put_u32(wire_.body(), static_cast<uint32_t>(exit_code));
  put_u8(wire_.body(), box.flags);
  put_u32(wire_.body(), static_cast<uint32_t>(cwd.size()));
  wire_.body() += cwd;
  wire_.body() += box.output;
  wire_.end();
  box.output.clear();
}

// The call in flight fails; the sandbox stays until it is destroyed.
void Supervisor::lose(Box& box, ErrorCode code, std::string_view text) {
  deadlines_.erase({box.deadline, box.id});
  close_fd(box.once_fd);
  box.phase = Phase::kIdle;
  wire_.error(box.call, code, text);
}

void Supervisor::close_shell(Box& box) {
  for (int* fd : {&box.command_fd, &box.output_fd, &box.control_fd}) close_fd(*fd);
  box.unsent.clear();
  box.shell_runs = false;
}

}  // namespace echo
