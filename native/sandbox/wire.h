// Both directions of the pipe to Node: frames in, frames out. protocol.h says what they hold.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol.h"

namespace echo {

class Wire {
 public:
  // Reads what is there; false at the end of the requests.
  bool receive();
  // The next whole request. It stays valid until the next `receive`; false when none is whole.
  bool next(std::string_view& request);

  // A reply begins, takes bytes through `body`, and ends.
  void begin(ReplyKind kind, uint32_t call);
  std::string& body() { return replies_; }
  void end();

  void ok(uint32_t call, std::string_view payload = {});
  void error(uint32_t call, ErrorCode code, std::string_view text);

  // Writes what the pipe takes. Returns whether something is left.
  bool flush();
  bool reader_gone() const { return reader_gone_; }

 private:
  std::string input_, replies_;
  size_t taken_ = 0, start_ = 0;
  bool reader_gone_ = false;
};

}  // namespace echo
