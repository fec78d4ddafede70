#include "wire.h"

#include <errno.h>
#include <unistd.h>

namespace echo {

bool Wire::receive() {
  input_.erase(0, taken_);
  taken_ = 0;
  char buffer[65536];
  ssize_t n = read(0, buffer, sizeof(buffer));
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  input_.append(buffer, static_cast<size_t>(n));
  return n > 0;
}

bool Wire::next(std::string_view& request) {
  std::string_view rest = std::string_view(input_).substr(taken_);
  if (rest.size() < 4) return false;
  uint32_t length = PayloadReader{rest}.u32();
  if (rest.size() - 4 < length) return false;
  request = rest.substr(4, length);
  taken_ += 4 + length;
  return true;
}

void Wire::begin(ReplyKind kind, uint32_t call) {
  start_ = replies_.size();
  put_u32(replies_, 0);
  put_u8(replies_, static_cast<uint8_t>(kind));
  put_u32(replies_, call);
}

void Wire::end() {
  std::string length;
  put_u32(length, static_cast<uint32_t>(replies_.size() - start_ - 4));
  replies_.replace(start_, 4, length);
}

void Wire::ok(uint32_t call, std::string_view payload) {
  begin(ReplyKind::kOk, call);
  replies_ += payload;
  end();
}

void Wire::error(uint32_t call, ErrorCode code, std::string_view text) {
  begin(ReplyKind::kError, call);
  put_u8(replies_, static_cast<uint8_t>(code));
  replies_ += text;
  end();
}

bool Wire::flush() {
  size_t sent = 0;
  while (sent < replies_.size()) {
    ssize_t n = write(1, replies_.data() + sent, replies_.size() - sent);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) reader_gone_ = true;
    if (n < 0) break;
    sent += static_cast<size_t>(n);
  }
  replies_.erase(0, sent);
  return !replies_.empty();
}

}  // namespace echo
