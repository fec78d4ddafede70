// The vector of a tier and the few operations on it that the model's kernels share. Only for tier units.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#elif defined(ECHO_NEON)
#include <arm_neon.h>
#endif

namespace echo {
namespace ECHO_TIER {
namespace {

#if defined(__AVX512F__)
constexpr int lanes = 16;
#elif defined(__AVX2__)
constexpr int lanes = 8;
#else
constexpr int lanes = 4;
#endif

typedef float Vec __attribute__((vector_size(lanes * 4)));
typedef int32_t IntVec __attribute__((vector_size(lanes * 4)));
typedef float UnalignedVec __attribute__((vector_size(lanes * 4), aligned(4), may_alias));

inline __attribute__((always_inline)) Vec load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
inline __attribute__((always_inline)) void store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }
inline __attribute__((always_inline)) Vec splat(float x) { return x - Vec{}; }

// a * b + c: one rounding where the tier has fma, two in the scalar tier, everywhere the same.
inline __attribute__((always_inline)) Vec fma(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
  return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
  return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(ECHO_NEON)
  return (Vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

// Lanes from `count` on are 0.
inline Vec load_first(const float* p, int64_t count) {
  if (count >= lanes) return load(p);
  Vec v = {};
  memcpy(&v, p, static_cast<size_t>(count) * sizeof(float));
  return v;
}

inline void store_first(float* p, Vec v, int64_t count) {
  if (count >= lanes) {
    store(p, v);
  } else {
    memcpy(p, &v, static_cast<size_t>(count) * sizeof(float));
  }
}

inline IntVec lane_index() {
  IntVec v;
  for (int i = 0; i < lanes; i++) v[i] = i;
  return v;
}

inline Vec swap_lanes(Vec v, int distance) {
  float in[lanes], out[lanes];
  memcpy(in, &v, sizeof v);
  for (int i = 0; i < lanes; i++) out[i] = in[i ^ distance];
  memcpy(&v, out, sizeof v);
  return v;
}

inline float sum_lanes(Vec v) {
  for (int distance = lanes / 2; distance > 0; distance /= 2) v = v + swap_lanes(v, distance);
  return v[0];
}

inline float max_lanes(Vec v) {
  for (int distance = lanes / 2; distance > 0; distance /= 2) {
    const Vec other = swap_lanes(v, distance);
    v = v > other ? v : other;
  }
  return v[0];
}

// 2^a to about 1 ulp for a in [-126, 126], clamped outside; NaN stays NaN. Degree-6 fit of 2^r on [-1/2, 1/2] (relative error 2.6e-9)
// with n = round(a) added to the exponent bits.
inline __attribute__((always_inline)) Vec exp2(Vec a) {
  const Vec low = splat(-126.0f), high = splat(126.0f);
  a = a < low ? low : a;
  a = a > high ? high : a;
  const Vec shift = splat(12582912.0f);  // 1.5 * 2^23: the sum's low bits hold round(a)
  const Vec shifted = a + shift;
  const Vec r = a - (shifted - shift);
  Vec p = splat(0x1.444p-13f);
  p = fma(p, r, splat(0x1.5f48c0p-10f));
  p = fma(p, r, splat(0x1.3b2a1cp-7f));
  p = fma(p, r, splat(0x1.c6aeccp-5f));
  p = fma(p, r, splat(0x1.ebfbe0p-3f));
  p = fma(p, r, splat(0x1.62e430p-1f));
  p = fma(p, r, splat(1.0f));
  return (Vec)((IntVec)p + ((IntVec)shifted << 23));
}

}  // namespace
}  // namespace ECHO_TIER
}  // namespace echo
