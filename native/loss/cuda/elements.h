// How logits and gradients are stored: one element, and 16 bytes of them.
#pragma once

#include <math.h>

#include "../../cuda/device.h"

namespace echo {
namespace cuda {

struct Float32 {
  using Stored = float;
  static constexpr int count = 4;  // in 16 bytes
  static constexpr uint32_t minus_infinity = 0xff800000u;

  ECHO_DEVICE void unpack(const uint4& v, float* x) {
    x[0] = bits_float(v.x), x[1] = bits_float(v.y), x[2] = bits_float(v.z), x[3] = bits_float(v.w);
  }
  // Not below `least`; a NaN loses against a number.
  ECHO_DEVICE float largest(const uint4& v, float least) {
    return fmaxf(fmaxf(fmaxf(bits_float(v.x), bits_float(v.y)), fmaxf(bits_float(v.z), bits_float(v.w))), least);
  }
  ECHO_DEVICE uint4 pack(const float* x) { return {float_bits(x[0]), float_bits(x[1]), float_bits(x[2]), float_bits(x[3])}; }
  ECHO_DEVICE float first(uint32_t bits) { return bits_float(bits); }
  ECHO_DEVICE float load(const float* p) { return *p; }
  ECHO_DEVICE void store(float* p, float x) { *p = x; }
};

struct Bfloat16 {
  using Stored = uint16_t;
  static constexpr int count = 8;
  static constexpr uint32_t minus_infinity = 0xff80ff80u;

  ECHO_DEVICE void unpack(const uint4& v, float* x) {
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
    ECHO_UNROLL
    for (int k = 0; k < 4; k++) {
      x[2 * k] = bits_float(words[k] << 16);
      x[2 * k + 1] = bits_float(words[k] & 0xffff0000u);
    }
  }
  ECHO_DEVICE float largest(const uint4& v, float least) {
    const uint32_t both = max_bfloat16(max_bfloat16(v.x, v.y), max_bfloat16(v.z, v.w));
    return fmaxf(fmaxf(bits_float(both << 16), bits_float(both & 0xffff0000u)), least);
  }
  ECHO_DEVICE uint4 pack(const float* x) {
    return {pack_bfloat16(x[0], x[1]), pack_bfloat16(x[2], x[3]), pack_bfloat16(x[4], x[5]), pack_bfloat16(x[6], x[7])};
  }
  ECHO_DEVICE float first(uint32_t bits) { return bits_float(bits << 16); }
  ECHO_DEVICE float load(const uint16_t* p) { return first(*p); }
  ECHO_DEVICE void store(uint16_t* p, float x) { *p = static_cast<uint16_t>(pack_bfloat16(x, 0.0f)); }
};

struct Float16 {
  using Stored = uint16_t;
  static constexpr int count = 8;
  static constexpr uint32_t minus_infinity = 0xfc00fc00u;

  ECHO_DEVICE void unpack(const uint4& v, float* x) {
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
    ECHO_UNROLL
    for (int k = 0; k < 4; k++) {
      x[2 * k] = low_half_to_float(words[k]);
      x[2 * k + 1] = high_half_to_float(words[k]);
    }
  }
  ECHO_DEVICE float largest(const uint4& v, float least) {
    const uint32_t both = max_halves(max_halves(v.x, v.y), max_halves(v.z, v.w));
    return fmaxf(fmaxf(low_half_to_float(both), high_half_to_float(both)), least);
  }
  ECHO_DEVICE uint4 pack(const float* x) {
    return {pack_halves(x[0], x[1]), pack_halves(x[2], x[3]), pack_halves(x[4], x[5]), pack_halves(x[6], x[7])};
  }
  ECHO_DEVICE float first(uint32_t bits) { return low_half_to_float(bits); }
  ECHO_DEVICE float load(const uint16_t* p) { return first(*p); }
  ECHO_DEVICE void store(uint16_t* p, float x) { *p = static_cast<uint16_t>(pack_halves(x, 0.0f)); }
};

// 16 bytes of -inf, for places that hold no logits.
template <typename T>
ECHO_DEVICE uint4 nothing() {
  return {T::minus_infinity, T::minus_infinity, T::minus_infinity, T::minus_infinity};
}

// Element k of v.
template <typename T>
ECHO_DEVICE float element(const uint4& v, int k) {
  constexpr bool halves = T::count == 8;
  const int word = halves ? k / 2 : k;
  const uint32_t bits = word < 2 ? (word == 0 ? v.x : v.y) : (word == 2 ? v.z : v.w);
  return T::first(halves && k % 2 == 1 ? bits >> 16 : bits);
}

// Element k of v becomes -inf. Written out: an index into a vector would put it on the stack.
template <typename T>
ECHO_DEVICE void remove(uint4& v, int k) {
  constexpr bool halves = T::count == 8;
  const int word = halves ? k / 2 : k;
  const uint32_t mask = !halves ? 0xffffffffu : k % 2 == 0 ? 0x0000ffffu : 0xffff0000u;
  const uint32_t put = T::minus_infinity & mask;
  if (word == 0) v.x = (v.x & ~mask) | put;
  if (word == 1) v.y = (v.y & ~mask) | put;
  if (word == 2) v.z = (v.z & ~mask) | put;
  if (word == 3) v.w = (v.w & ~mask) | put;
}

// Writes what was read as one vector of `In` at p; two bytes an element where the result is narrower.
template <typename In, typename Out>
ECHO_DEVICE void store_vector(typename Out::Stored* p, const float* g) {
  if constexpr (In::count == Out::count) {
    store_streaming(p, Out::pack(g));
  } else {
    const uint2 packed = {pack_bfloat16(g[0], g[1]), pack_bfloat16(g[2], g[3])};
    if ((reinterpret_cast<uintptr_t>(p) & 7) == 0) {
      store_streaming(p, packed);
    } else {
      p[0] = static_cast<uint16_t>(packed.x), p[1] = static_cast<uint16_t>(packed.x >> 16);
      p[2] = static_cast<uint16_t>(packed.y), p[3] = static_cast<uint16_t>(packed.y >> 16);
    }
  }
}

// A row, of fewer than 2^31 elements: some up to the first multiple of 16 bytes, whole vectors, and what is left.
struct RowSpan {
  int head;
  int vectors;
  int tail;
};

template <typename T>
ECHO_DEVICE RowSpan span_of(const typename T::Stored* x, int count) {
  const int beyond = static_cast<int>(reinterpret_cast<uintptr_t>(x) & 15) / static_cast<int>(sizeof(*x));
  int head = beyond == 0 ? 0 : T::count - beyond;
  if (head > count) head = count;
  const int vectors = (count - head) / T::count;
  return {head, vectors, count - head - vectors * T::count};
}

// `count` elements of x, of fewer than 2^34, become +0, by `size` threads.
template <typename T>
ECHO_DEVICE void fill_zero(typename T::Stored* x, int64_t count, int rank, int size) {
  const int beyond = static_cast<int>(reinterpret_cast<uintptr_t>(x) & 15) / static_cast<int>(sizeof(*x));
  int64_t head = beyond == 0 ? 0 : T::count - beyond;
  if (head > count) head = count;
  const int64_t vectors = (count - head) / T::count;
  const int64_t tail = count - head - vectors * T::count;
  if (rank < head) T::store(x + rank, 0.0f);
  ECHO_NO_UNROLL
  for (int64_t v = rank; v < vectors; v += size) store_streaming(x + head + v * T::count, uint4{0, 0, 0, 0});
  if (rank < tail) T::store(x + count - tail + rank, 0.0f);
}

}  // namespace cuda
}  // namespace echo
