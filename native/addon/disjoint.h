// Memory that is written must belong to one tensor alone: threads would race for it. What is only read may be shared.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "checked.h"

namespace echo::addon {

struct Range {
  uintptr_t begin;
  uintptr_t end;
  bool written;
};

inline void add_range(std::vector<Range>& ranges, const void* data, int64_t bytes, bool written) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(data);
  if (bytes > 0) ranges.push_back({begin, begin + static_cast<uintptr_t>(bytes), written});
}

// False after throwing ERR_OVERLAP.
inline bool check_disjoint(Napi::Env env, std::vector<Range>& ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
  uintptr_t end = 0;
  uintptr_t written_end = 0;
  for (const Range& range : ranges) {
    if (range.begin < (range.written ? end : written_end))
      return throw_error(env, "ERR_OVERLAP",
                         "[native] two arrays share memory, of which one is written: expected memory of their own.");
    end = std::max(end, range.end);
    if (range.written) written_end = std::max(written_end, range.end);
  }
  return true;
}

}  // namespace echo::addon
