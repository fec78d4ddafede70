// Tier header. Where the vocabulary loops read logits from: memory of any storage type. Logits under a softcap come as a float32 copy of one
// row, made by copy_row.
#pragma once

#include <math.h>

#include "../core/vec_half.h"

namespace echo {
namespace ECHO_TIER {
namespace {

template <typename T>
struct Stored {
  const T* x;

  ECHO_INLINE_MEMBER Vec load(int64_t j) const { return load_vec(x + j); }
  ECHO_INLINE_MEMBER Vec load_part(int64_t j, int n) const { return load_vec_part(x + j, n, -INFINITY); }
  ECHO_INLINE_MEMBER float at(int64_t j) const { return to_float(load_one(x + j)); }
};

// cap tanh(x / cap). An infinite logit stays what it is: a masked token stays masked, and an overflow is found.
ECHO_INLINE Vec softcap(Vec x, Vec cap) {
  return vec_less(vec_abs(x), vec_set(INFINITY), vec_mul(cap, vec_tanh(vec_div(x, cap))), x);
}

// d softcap / d x, given its value: 1 - tanh^2; 0 at infinite logits, whose probability is 0.
ECHO_INLINE Vec softcap_slope(Vec capped, Vec cap) {
  const Vec t = vec_min(vec_abs(vec_div(capped, cap)), vec_set(1.0f));
  return vec_mul(vec_sub(vec_set(1.0f), t), vec_add(vec_set(1.0f), t));
}

// cap 0: none.
template <typename T>
void copy_row(const T* x, int64_t n, float cap, float* out) {
  int64_t j = 0;
  for (; j + lanes <= n; j += lanes) vec_store(out + j, load_vec(x + j));
  if (j < n) vec_store_part(out + j, load_vec_part(x + j, static_cast<int>(n - j), 0.0f), static_cast<int>(n - j));
  if (cap == 0.0f) return;
  const Vec c = vec_set(cap);
  for (j = 0; j + lanes <= n; j += lanes) vec_store(out + j, softcap(vec_load(out + j), c));
  const int rest = static_cast<int>(n - j);
  if (rest > 0) vec_store_part(out + j, softcap(vec_load_part(out + j, rest, 0.0f), c), rest);
}

}  // namespace
}  // namespace ECHO_TIER
}  // namespace echo
