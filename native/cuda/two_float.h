// Numbers as unevaluated sums of two float32: some 48 bits, where a float32 has 24. Products by fma, sums by Knuth's TwoSum (The Art of
// Computer Programming 2, 4.2.2) and Dekker's renormalisation (1971). Needs -fmad=false: a fused operation would take the error term away.
#pragma once

#include <math.h>

#include "device.h"

namespace echo {
namespace cuda {

struct TwoFloat {
  float high, low;  // |low| is at most half a unit in the last place of high
};

ECHO_DEVICE TwoFloat two_sum(float a, float b) {
  const float s = a + b;
  const float t = s - a;
  return {s, (a - (s - t)) + (b - t)};
}

// |a| >= |b|, or a is 0.
ECHO_DEVICE TwoFloat normalized(float a, float b) {
  const float s = a + b;
  return {s, b - (s - a)};
}

// An infinite or NaN sum has no error term that means anything: it would turn an infinity into NaN.
ECHO_DEVICE TwoFloat finished(const TwoFloat& s) { return s.high - s.high == 0.0f ? s : TwoFloat{s.high, 0.0f}; }

ECHO_DEVICE TwoFloat product(float a, float b) {
  const float p = a * b;
  return finished({p, fmaf(a, b, -p)});
}

ECHO_DEVICE TwoFloat add(const TwoFloat& a, const TwoFloat& b) {
  const TwoFloat high = two_sum(a.high, b.high);
  if (!(high.high - high.high == 0.0f)) return {high.high, 0.0f};
  const TwoFloat low = two_sum(a.low, b.low);
  const TwoFloat sum = normalized(high.high, high.low + low.high);
  return normalized(sum.high, sum.low + low.low);
}

ECHO_DEVICE TwoFloat add(const TwoFloat& a, float b) { return add(a, TwoFloat{b, 0.0f}); }

ECHO_DEVICE TwoFloat times(const TwoFloat& a, float b) {
  const TwoFloat p = product(a.high, b);
  return p.high - p.high == 0.0f ? normalized(p.high, fmaf(a.low, b, p.low)) : p;
}

}  // namespace cuda
}  // namespace echo
