// Tier header. The second pass over a row: the gradient, over the logits or over the exponentials that the first pass left there. What is
// written may be narrower than what is read and share its memory: positions are taken in ascending order, and none is written before it
// was read.
#pragma once

#include "row_statistics.h"

namespace echo {
namespace ECHO_TIER {
namespace {

template <typename T>
void fill(T* x, int64_t n, float value) {
  for (int64_t j = 0; j < n; j++) store_one(x + j, value);
}

// Exponentials at x times `factor`, and times what brings their epoch to the maximum of the row.
template <typename Out>
void scale_exponentials(const Pass& p, const float* x, Out* out, float factor) {
  for (int epoch = 0; epoch < p.epochs; epoch++) {
    const Vec q = vec_mul(vec_set(factor), exponential(vec_set(p.epoch_max[epoch]), p.max, p.scale));
    int64_t j = p.first[epoch];
    const int64_t end = p.first[epoch + 1];
    for (; j + 4 * lanes <= end; j += 4 * lanes)
      for (int k = 0; k < 4; k++) store_vec(out + j + k * lanes, vec_mul(vec_load(x + j + k * lanes), q));
    for (; j + lanes <= end; j += lanes) store_vec(out + j, vec_mul(vec_load(x + j), q));
    if (j < end) {
      const int rest = static_cast<int>(end - j);
      store_vec_part(out + j, vec_mul(vec_load_part(x + j, rest, 0.0f), q), rest);
    }
  }
}

struct Slopes {
  Vec max, scale, factor, bend, cap;
  bool capped;
};

ECHO_INLINE Vec slope_of(const Slopes& s, Vec x) {
  const Vec a = exponent(x, s.max, s.scale);
  const Vec e = vec_exp2(a);
  const Vec g = vec_add(vec_mul(e, s.factor), vec_mul(weighted_term(a, e), s.bend));
  return s.capped ? vec_mul(g, softcap_slope(x, s.cap)) : g;
}

// From the logits themselves, which are still there. `max`: what the exponentials of `f` are relative to.
template <typename Out>
void write_gradient(const float* x, Out* out, int64_t vocab, float max, float scale, const GradientFactors& f, float cap) {
  const Slopes s = {vec_set(max), vec_set(scale), vec_set(f.factor), vec_set(f.bend), vec_set(cap), cap > 0.0f};
  int64_t j = 0;
  for (; j + lanes <= vocab; j += lanes) store_vec(out + j, slope_of(s, vec_load(x + j)));
  if (j < vocab) {
    const int rest = static_cast<int>(vocab - j);
    store_vec_part(out + j, slope_of(s, vec_load_part(x + j, rest, -INFINITY)), rest);
  }
}

}  // namespace
}  // namespace ECHO_TIER
}  // namespace echo
