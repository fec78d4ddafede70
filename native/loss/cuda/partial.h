// What a thread, a warp, a block knows of a row, and how two of them become one.
#pragma once

#include <float.h>

#include "../../cuda/device.h"
#include "../objective.h"

namespace echo {
namespace cuda {

// Of logits without the target's. `full` kernels also keep the two sums below the line.
struct Partial {
  float max;  // -FLT_MAX over nothing: differences of sentinels are 0, those of infinities would be NaN
  float sum;  // of 2^a, a = (x - max) * scale; NaN if any x is
  float weighted;  // of a 2^a
  float at_one;    // of 2^((x - max) * log2 e): the sum at temperature 1
};

struct Scales {
  float at_temperature;
  float at_one;
};

ECHO_DEVICE Partial empty_partial() { return {-FLT_MAX, 0.0f, 0.0f, 0.0f}; }

// a 2^a, 0 where 2^a vanishes: there a may be -inf.
ECHO_DEVICE float weighted_term(float a, float e) { return fmaxf(a, -200.0f) * e; }

// x - max before the product: exact where it matters, so that a common shift of all logits cancels, and free of overflow.
ECHO_DEVICE float exponent(float x, float max, float scale) { return (x - max) * scale; }

// Symmetric to the bit: both lanes of a shuffle compute the same.
template <bool full>
ECHO_DEVICE Partial merge(const Partial& a, const Partial& b, const Scales& s) {
  Partial both;
  both.max = fmaxf(a.max, b.max);
  const float da = exponent(a.max, both.max, s.at_temperature), db = exponent(b.max, both.max, s.at_temperature);
  const float ea = exp2_approx(da), eb = exp2_approx(db);
  both.sum = a.sum * ea + b.sum * eb;
  both.weighted = both.at_one = 0.0f;
  if (full) {
    // (a + d) 2^(a + d), summed.
    both.weighted = (a.weighted + fmaxf(da, -200.0f) * a.sum) * ea + (b.weighted + fmaxf(db, -200.0f) * b.sum) * eb;
    both.at_one = a.at_one * exp2_approx(exponent(a.max, both.max, s.at_one)) + b.at_one * exp2_approx(exponent(b.max, both.max, s.at_one));
  }
  return both;
}

// Of `lanes` neighbouring lanes; every one of them has the result.
template <bool full>
ECHO_DEVICE Partial merge_lanes(Partial p, const Scales& s, int lanes) {
  ECHO_UNROLL
  for (int mask = lanes / 2; mask > 0; mask /= 2) {
    Partial other;
    other.max = shuffle_xor(p.max, mask, lanes);
    other.sum = shuffle_xor(p.sum, mask, lanes);
    other.weighted = full ? shuffle_xor(p.weighted, mask, lanes) : 0.0f;
    other.at_one = full ? shuffle_xor(p.at_one, mask, lanes) : 0.0f;
    p = merge<full>(p, other, s);
  }
  return p;
}

ECHO_DEVICE float max_of_lanes(float x, int lanes) {
  ECHO_UNROLL
  for (int mask = lanes / 2; mask > 0; mask /= 2) x = fmaxf(x, shuffle_xor(x, mask, lanes));
  return x;
}

ECHO_DEVICE float sum_of_lanes(float x, int lanes) {
  ECHO_UNROLL
  for (int mask = lanes / 2; mask > 0; mask /= 2) x += shuffle_xor(x, mask, lanes);
  return x;
}

// Brings the sums to a larger maximum.
template <bool full>
ECHO_DEVICE void raise(Partial& p, float candidate, const Scales& s) {
  if (candidate > p.max) {
    const float d = exponent(p.max, candidate, s.at_temperature), e = exp2_approx(d);
    if (full) {
      p.weighted = (p.weighted + fmaxf(d, -200.0f) * p.sum) * e;
      p.at_one *= exp2_approx(exponent(p.max, candidate, s.at_one));
    }
    p.sum *= e;
    p.max = candidate;
  }
}

// Adds `count` logits, none of which is above p.max.
template <bool full, int count>
ECHO_DEVICE void add(Partial& p, const float* x, const Scales& s) {
  float sum = 0.0f, weighted = 0.0f, at_one = 0.0f;
  ECHO_UNROLL
  for (int k = 0; k < count; k++) {
    const float a = exponent(x[k], p.max, s.at_temperature);
    const float e = exp2_approx(a);
    sum += e;
    if (full) {
      weighted += weighted_term(a, e);
      at_one += exp2_approx(exponent(x[k], p.max, s.at_one));
    }
  }
  p.sum += sum;
  if (full) {
    p.weighted += weighted;
    p.at_one += at_one;
  }
}

// cap tanh(x / cap). An infinite logit stays what it is: a masked token stays masked, and an overflow is found.
ECHO_DEVICE float softcap(float x, float cap) { return fabsf(x) < INFINITY ? cap * tanhf(x / cap) : x; }

// d softcap / d x, given its value: 1 - tanh^2; 0 at infinite logits, whose probability is 0.
ECHO_DEVICE float softcap_slope(float capped, float cap) {
  const float t = fminf(fabsf(capped / cap), 1.0f);
  return (1.0f - t) * (1.0f + t);
}

template <bool full, int count>
ECHO_DEVICE void cap_all(float* x, float cap) {
  if (full && cap > 0.0f) {
    ECHO_UNROLL
    for (int k = 0; k < count; k++) x[k] = softcap(x[k], cap);
  }
}

}  // namespace cuda
}  // namespace echo
