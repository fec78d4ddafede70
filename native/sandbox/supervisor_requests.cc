#include <sys/resource.h>

#include <string>

#include "files.h"
#include "supervisor.h"
#include "tree.h"

namespace echo {

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
    if (operation == Operation::kDestroy) return wire_.ok(call);
    return wire_.error(call, ErrorCode::kGone, "the sandbox is gone");
  }
  Box& box = *found->second;
  if (box.phase == Phase::kDestroying) return wire_.error(call, ErrorCode::kDisposed, "the sandbox was disposed of");
  switch (operation) {
    case Operation::kExec:
    case Operation::kExecOnce:
      return exec(box, call, operation, reader);
    case Operation::kReadFile:
      return read_file(box, call, reader.rest);
    case Operation::kWriteFile:
      return write_file(box, call, reader);
    case Operation::kReadTree:
      return send_tree(box, call);
    case Operation::kEditTree:
      return change_tree(box, call, reader.rest);
    case Operation::kDestroy:
      return destroy(box, call);
    default:
      return wire_.error(call, ErrorCode::kLimit, "unknown operation");
  }
}

void Supervisor::exec(Box& box, uint32_t call, Operation operation, PayloadReader reader) {
  uint32_t timeout_ms = reader.u32(), cap = reader.u32();
  std::string_view text = reader.rest;
  if (box.phase != Phase::kIdle) return wire_.error(call, ErrorCode::kLimit, "another command is running");
  if (text.find('\0') != std::string_view::npos) return wire_.error(call, ErrorCode::kLimit, "NUL in a command");
  if (operation == Operation::kExec && box.shell_gone) return wire_.error(call, ErrorCode::kGone, "the shell has ended");
  if (operation == Operation::kExecOnce && text.size() > kMaxScriptBytes) {
    return wire_.error(call, ErrorCode::kLimit, "script longer than 120 KiB");
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

void Supervisor::read_file(Box& box, uint32_t call, std::string_view path) {
  if (box.root_fd < 0) return wire_.error(call, ErrorCode::kGone, "the sandbox is not ready");
  std::string bytes, reason;
  if (read_file_beneath(box.root_fd, path, kMaxFileBytes, bytes, reason)) return wire_.ok(call, bytes);
  wire_.error(call, ErrorCode::kPath, reason);
}

void Supervisor::write_file(Box& box, uint32_t call, PayloadReader reader) {
  if (box.root_fd < 0) return wire_.error(call, ErrorCode::kGone, "the sandbox is not ready");
  std::string_view path = reader.bytes(reader.u32());
  std::string reason;
  if (write_file_beneath(box.root_fd, path, reader.rest, owner_of(box), reason)) return wire_.ok(call);
  wire_.error(call, ErrorCode::kPath, reason);
}

void Supervisor::send_tree(Box& box, uint32_t call) {
  if (box.root_fd < 0) return wire_.error(call, ErrorCode::kGone, "the sandbox is not ready");
  std::string tree, reason;
  if (read_tree(box.root_fd, tree, reason)) return wire_.ok(call, tree);
  wire_.error(call, ErrorCode::kLimit, "the files cannot be handed out as a tree: " + reason);
}

void Supervisor::change_tree(Box& box, uint32_t call, std::string_view edits) {
  if (box.root_fd < 0) return wire_.error(call, ErrorCode::kGone, "the sandbox is not ready");
  std::string reason;
  if (edit_tree(box.root_fd, edits, owner_of(box), reason)) return wire_.ok(call);
  wire_.error(call, ErrorCode::kPath, reason);
}

long Supervisor::owner_of(const Box& box) const {
  return isolation_.uid_per_sandbox ? static_cast<long>(isolation_.first_uid + box.slot) : -1;
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
  wire_.ok(call, payload);
}

void Supervisor::cancel(uint32_t call) {
  for (auto& [id, box] : boxes_) {
    if (box->call == call && (box->phase == Phase::kExec || box->phase == Phase::kOnce)) {
      return stop_command(*box, kFlagCancelled);
    }
  }
}

}  // namespace echo
