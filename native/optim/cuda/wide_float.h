// Numbers that are not negative, with 48 bits and any exponent, out of float32: high + low, times 2^exponent. What float64 is for elsewhere.
// Every operation is right to a few units of 2^-47.
#pragma once

#include <math.h>

#include <cstdint>

#include "../../cuda/two_float.h"

namespace echo {
namespace cuda {

struct WideFloat {
  float high;  // from 1 to below 2, or 0
  float low;   // at most half a unit in the last place of high
  int32_t exponent;
};

constexpr int32_t zero_exponent = -(1 << 20);  // below all others, and even

ECHO_DEVICE float power_of_two(int32_t exponent) { return bits_float(static_cast<uint32_t>(exponent + 127) << 23); }

// (high + low) 2^exponent, for |low| <= high and high either 0 or between 2^-120 and 2^120.
ECHO_DEVICE WideFloat wide_float(float high, float low, int32_t exponent) {
  const float sum = high + low;
  if (sum == 0.0f) return {0.0f, 0.0f, zero_exponent};
  const float rest = low - (sum - high);
  const int32_t own = static_cast<int32_t>(float_bits(sum) >> 23) - 127;
  const float scale = power_of_two(-own);
  return {sum * scale, rest * scale, exponent + own};
}

// Symmetric to the bit: both lanes of a shuffle compute the same.
ECHO_DEVICE WideFloat add(WideFloat a, WideFloat b) {
  if (a.exponent < b.exponent) {
    const WideFloat smaller = a;
    a = b;
    b = smaller;
  }
  const int32_t apart = a.exponent - b.exponent;
  if (apart > 96) return a;
  const float scale = power_of_two(-apart);
  const TwoFloat sum = two_sum(a.high, b.high * scale);
  return wide_float(sum.high, (a.low + b.low * scale) + sum.low, a.exponent);
}

ECHO_DEVICE WideFloat multiply(WideFloat a, WideFloat b) {
  const float product = a.high * b.high;
  const float error = fmaf(a.high, b.high, -product);
  return wide_float(product, error + (a.high * b.low + a.low * b.high), a.exponent + b.exponent);
}

// b must not be 0.
ECHO_DEVICE WideFloat divide(WideFloat a, WideFloat b) {
  const float quotient = a.high / b.high;
  const float rest = (fmaf(-quotient, b.high, a.high) + a.low) - quotient * b.low;
  return wide_float(quotient, rest / b.high, a.exponent - b.exponent);
}

ECHO_DEVICE WideFloat square_root(WideFloat a) {
  if (a.high == 0.0f) return a;
  const bool odd = (a.exponent & 1) != 0;
  const float high = odd ? a.high * 2.0f : a.high;
  const float low = odd ? a.low * 2.0f : a.low;
  const float root = sqrtf(high);
  const float rest = fmaf(-root, root, high) + low;
  return wide_float(root, rest / (2.0f * root), (odd ? a.exponent - 1 : a.exponent) / 2);
}

ECHO_DEVICE bool below_one(WideFloat a) { return a.exponent < 0; }

// Rounded once, save where the result has fewer than 24 bits.
ECHO_DEVICE float to_float(WideFloat a) {
  if (a.exponent > 127) return INFINITY;
  if (a.exponent < -150) return 0.0f;
  if (a.exponent >= -126) return a.high * power_of_two(a.exponent);
  return a.high * power_of_two(a.exponent + 64) * power_of_two(-64);
}

}  // namespace cuda
}  // namespace echo
