// Rows that carry a weight, brought together for the products of a head and put back: one block per row.
#pragma once

#include <cstdint>

#include "../../cuda/device.h"

namespace echo {
namespace cuda {

constexpr int head_threads = 256;

ECHO_DEVICE float head_float(float x) { return x; }
ECHO_DEVICE float head_float(uint16_t x) { return bits_float(static_cast<uint32_t>(x) << 16); }
ECHO_DEVICE void head_store(float* p, float x) { *p = x; }
ECHO_DEVICE void head_store(uint16_t* p, float x) { *p = static_cast<uint16_t>(pack_bfloat16(x, 0.0f)); }

// Row i of `out` [rows, width] is row places[i] of `in` [.., width].
template <typename In>
ECHO_GLOBAL(head_threads, 4)
gather_rows(const In* in, const int32_t* places, int64_t width, float* out) {
  const In* const from = in + places[blockIdx.x] * width;
  float* const to = out + blockIdx.x * width;
  for (int64_t k = threadIdx.x; k < width; k += head_threads) to[k] = head_float(from[k]);
}

// As bfloat16: a float32 number as the sum of `parts` of them, which with three is exact; part p lies at out + p part_stride.
template <typename In, int parts>
ECHO_GLOBAL(head_threads, 4)
gather_parts(const In* in, const int32_t* places, int64_t width, uint16_t* out, int64_t part_stride) {
  const In* const from = in + places[blockIdx.x] * width;
  uint16_t* const to = out + blockIdx.x * width;
  for (int64_t k = threadIdx.x; k < width; k += head_threads) {
    float rest = head_float(from[k]);
    ECHO_UNROLL
    for (int part = 0; part < parts; part++) {
      const uint32_t rounded = pack_bfloat16(rest, 0.0f) & 0xffffu;
      to[part * part_stride + k] = static_cast<uint16_t>(rounded);
      rest = rest - bits_float(rounded << 16);
    }
  }
}

// Row places[i] of `out` becomes row i of `in`.
template <typename Out>
ECHO_GLOBAL(head_threads, 4)
scatter_rows(const float* in, const int32_t* places, int64_t width, Out* out) {
  const float* const from = in + blockIdx.x * width;
  Out* const to = out + places[blockIdx.x] * width;
  for (int64_t k = threadIdx.x; k < width; k += head_threads) head_store(to + k, from[k]);
}

template <typename Out>
ECHO_GLOBAL(head_threads, 4)
clear_rows(const int32_t* places, int64_t width, Out* out) {
  Out* const to = out + places[blockIdx.x] * width;
  for (int64_t k = threadIdx.x; k < width; k += head_threads) head_store(to + k, 0.0f);
}

}  // namespace cuda
}  // namespace echo
