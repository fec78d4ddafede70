// How a register tile holds the last vector of its panel, of which the first `count` columns (1 .. lanes) are there. Only for tier units.
#pragma once

#include "tier_vector.h"

namespace echo {
namespace ECHO_TIER {
namespace {

#define ECHO_INLINE inline __attribute__((always_inline))

#if defined(__AVX512F__)

constexpr int tails = 3;

// B can be read to the end of the vector: that is full, or B is packed.
struct WholeTail {
  using Sum = Vec;
  explicit WholeTail(int64_t count) : mask(static_cast<__mmask16>(0xffff >> (lanes - count))) {}
  static ECHO_INLINE Sum of(Vec v) { return v; }
  ECHO_INLINE Sum load_b(const float* p) const { return load(p); }
  ECHO_INLINE Sum load_c(const float* p) const { return (Vec)_mm512_maskz_loadu_ps(mask, p); }
  ECHO_INLINE void store_c(float* p, Sum v) const { _mm512_mask_storeu_ps(p, mask, (__m512)v); }
  __mmask16 mask;
};

struct CutTail : WholeTail {
  using WholeTail::WholeTail;
  ECHO_INLINE Sum load_b(const float* p) const { return load_c(p); }
};

typedef float HalfVec __attribute__((vector_size(lanes * 2)));

ECHO_INLINE HalfVec fma(HalfVec a, HalfVec b, HalfVec c) { return (HalfVec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }

// Costs half a vector where the processor splits its widest ones in two, and no more than one elsewhere.
struct HalfTail {
  using Sum = HalfVec;
  explicit HalfTail(int64_t count) : mask(static_cast<__mmask8>(0xff >> (lanes / 2 - count))) {}
  static ECHO_INLINE Sum of(Vec v) { return (HalfVec)_mm512_castps512_ps256((__m512)v); }
  ECHO_INLINE Sum load_b(const float* p) const { return load_c(p); }
  ECHO_INLINE Sum load_c(const float* p) const { return (HalfVec)_mm256_maskz_loadu_ps(mask, p); }
  ECHO_INLINE void store_c(float* p, Sum v) const { _mm256_mask_storeu_ps(p, mask, (__m256)v); }
  __mmask8 mask;
};

inline int tail_of(int64_t count, bool b_packed) { return count <= lanes / 2 ? 2 : count < lanes && !b_packed ? 1 : 0; }

#else

struct WholeTail {
  using Sum = Vec;
  explicit WholeTail(int64_t count) : count(count) {}
  static ECHO_INLINE Sum of(Vec v) { return v; }
  ECHO_INLINE Sum load_b(const float* p) const { return load(p); }
  ECHO_INLINE Sum load_c(const float* p) const { return load_first(p, count); }
  ECHO_INLINE void store_c(float* p, Sum v) const { store_first(p, v, count); }
  int64_t count;
};

#if defined(__AVX2__)

constexpr int tails = 2;

struct CutTail : WholeTail {
  explicit CutTail(int64_t count) : WholeTail(count), mask((__m256i)(lane_index() < static_cast<int32_t>(count))) {}
  ECHO_INLINE Sum load_b(const float* p) const { return (Vec)_mm256_maskload_ps(p, mask); }
  __m256i mask;
};

inline int tail_of(int64_t count, bool b_packed) { return count < lanes && !b_packed; }

#else

// Without masked loads a cut panel is copied to where its last vector can be read whole.
constexpr int tails = 1;

inline int tail_of(int64_t, bool) { return 0; }

#endif
#endif

}  // namespace
}  // namespace ECHO_TIER
}  // namespace echo
