// The wire between Node and the supervisor, little-endian, both ways over one pipe each:
//   request  u32 length of what follows, u8 operation, u32 call, u32 sandbox, payload
//   reply    u32 length of what follows, u8 kind, u32 call, payload
// Many calls are in flight; replies come as they are ready. lib/sandbox/supervisor-protocol.ts is the other end.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace echo {

enum class Operation : uint8_t {
  kCreate = 1,     // -> empty
  kExec = 2,       // u32 timeout ms, u32 output cap, command -> result
  kExecOnce = 3,   // the same
  kReadFile = 4,   // path -> bytes
  kWriteFile = 5,  // u32 path length, path, bytes -> empty
  kDestroy = 6,    // -> empty
  kUsage = 7,      // -> u64 own CPU us, u64 CPU us of ended sandboxes, u32 live sandboxes
  kCancel = 8,     // ends the call of that number; no reply of its own
  kReadTree = 9,   // -> tree, as tree.h has it
  kEditTree = 10,  // edits -> empty
};

enum class ReplyKind : uint8_t {
  kOk = 0,
  kError = 1,  // u8 code, text
  kHello = 2,  // once, first: layers in force, comma-separated
};

enum class ErrorCode : uint8_t { kStart = 1, kGone = 2, kDisposed = 3, kPath = 4, kLimit = 5 };

// A result: i32 exit code, u8 flags, u32 length of cwd, cwd, output.
constexpr uint8_t kFlagTruncated = 1;
constexpr uint8_t kFlagTimedOut = 2;
constexpr uint8_t kFlagCancelled = 4;

constexpr int kTimeoutExitCode = 124;
constexpr size_t kMaxScriptBytes = 120 * 1024;  // one argv word must stay under the kernel's 128 KiB
constexpr size_t kMaxFileBytes = 64u << 20;

inline void put_u8(std::string& out, uint8_t value) { out.push_back(static_cast<char>(value)); }

inline void put_u32(std::string& out, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(value >> shift));
}

inline void put_u64(std::string& out, uint64_t value) {
  put_u32(out, static_cast<uint32_t>(value));
  put_u32(out, static_cast<uint32_t>(value >> 32));
}

// Takes fields off the front of a payload; `ok` turns false instead of reading past the end.
struct PayloadReader {
  std::string_view rest;
  bool ok = true;

  std::string_view bytes(size_t count) {
    if (count > rest.size()) {
      ok = false;
      return {};
    }
    std::string_view taken = rest.substr(0, count);
    rest.remove_prefix(count);
    return taken;
  }
  uint32_t u32() {
    std::string_view taken = bytes(4);
    uint32_t value = 0;
    for (size_t i = 0; i < taken.size(); i++) value |= uint32_t{static_cast<uint8_t>(taken[i])} << (8 * i);
    return value;
  }
};

}  // namespace echo
