// bfloat16 memory to and from the float32 vectors of a tier. To be included by tier units only. Integer operations throughout, so every
// tier gives the same bits whatever the rounding mode: to nearest, ties to even; a NaN stays a NaN and becomes quiet.
#pragma once

#include "vec.h"

namespace echo {
namespace ECHO_TIER {

#if defined(__AVX512F__)

ECHO_INLINE Vec vec_widen_bfloat16(__m256i bits) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
ECHO_INLINE Vec vec_load_bfloat16(const uint16_t* p) {
  return vec_widen_bfloat16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
// The first n lanes (0 <= n <= lanes); memory beyond is not touched, the other lanes hold 0.
ECHO_INLINE Vec vec_load_bfloat16_part(const uint16_t* p, int n) {
  return vec_widen_bfloat16(_mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << n) - 1u), p));
}
ECHO_INLINE __m256i vec_round_bfloat16(Vec v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i high = _mm512_srli_epi32(bits, 16);
  const __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __m512i quiet = _mm512_or_si512(high, _mm512_set1_epi32(0x40));
  const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(_mm512_srli_epi32(rounded, 16), nan, quiet));
}
ECHO_INLINE void vec_store_bfloat16(uint16_t* p, Vec v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), vec_round_bfloat16(v));
}
ECHO_INLINE void vec_store_bfloat16_part(uint16_t* p, Vec v, int n) {
  _mm256_mask_storeu_epi16(p, static_cast<__mmask16>((1u << n) - 1u), vec_round_bfloat16(v));
}

#else

#if defined(__AVX2__)

ECHO_INLINE Vec vec_load_bfloat16(const uint16_t* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
ECHO_INLINE void vec_store_bfloat16(uint16_t* p, Vec v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i high = _mm256_srli_epi32(bits, 16);
  const __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  const __m256i wide = _mm256_blendv_epi8(_mm256_srli_epi32(rounded, 16), quiet, nan);
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(wide, wide), 0x08);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
}

#else

ECHO_INLINE Vec vec_load_bfloat16(const uint16_t* p) {
  typedef uint32_t Bits __attribute__((vector_size(16)));
  uint16_t half[lanes];
  memcpy(half, p, sizeof half);
  return (Vec)(Bits{half[0], half[1], half[2], half[3]} << 16);
}
ECHO_INLINE void vec_store_bfloat16(uint16_t* p, Vec v) {
  typedef uint32_t Bits __attribute__((vector_size(16)));
  const Bits bits = (Bits)v;
  const Bits high = bits >> 16;
  const Bits rounded = (bits + 0x7fff + (high & 1)) >> 16;
  const Bits nan = (Bits)(v != v);
  const Bits result = (nan & (high | 0x40)) | (~nan & rounded);
  uint16_t half[lanes];
  for (int i = 0; i < lanes; i++) half[i] = static_cast<uint16_t>(result[i]);
  // Copied, as in the tails below: a 16-bit store may lie in memory that is read as float32, which the compiler must not rule out.
  memcpy(p, half, sizeof half);
}

#endif

ECHO_INLINE Vec vec_load_bfloat16_part(const uint16_t* p, int n) {
  uint16_t whole[lanes] = {};
  memcpy(whole, p, static_cast<size_t>(n) * sizeof(uint16_t));
  return vec_load_bfloat16(whole);
}
ECHO_INLINE void vec_store_bfloat16_part(uint16_t* p, Vec v, int n) {
  uint16_t whole[lanes];
  vec_store_bfloat16(whole, v);
  memcpy(p, whole, static_cast<size_t>(n) * sizeof(uint16_t));
}

#endif

}  // namespace ECHO_TIER
}  // namespace echo
