// Kernels that work on one row at a time: normalisation, rotary embedding, gated activation. Only for tier units.
#pragma once

#include "kernels.h"
#include "tier_vector.h"

namespace echo {
namespace ECHO_TIER {
namespace {

inline float reciprocal_rms(float square_sum, int64_t width, float eps) {
  return 1.0f / __builtin_sqrtf(square_sum / static_cast<float>(width) + eps);
}

inline float square_sum(const float* x, int64_t width) {
  Vec sum = {};
  for (int64_t j = 0; j < width; j += lanes) {
    const Vec v = load_first(x + j, width - j);
    sum = fma(v, v, sum);
  }
  return sum_lanes(sum);
}

// y = x * r * gain
inline void normalize(const float* x, const float* gain, float r, int64_t width, float* y) {
  const Vec rv = splat(r);
  for (int64_t j = 0; j < width; j += lanes)
    store_first(y + j, load_first(x + j, width - j) * rv * load_first(gain + j, width - j), width - j);
}

void rmsnorm_forward(int64_t rows, int64_t width, const float* x, const float* gain, float eps, float* y, float* rstd) {
  for (int64_t i = 0; i < rows; i++) {
    const float r = reciprocal_rms(square_sum(x + i * width, width), width, eps);
    if (rstd != nullptr) rstd[i] = r;
    normalize(x + i * width, gain, r, width, y + i * width);
  }
}

// Gradient of y = x r gain, r = rsqrt(mean(x^2) + eps): dx = r (dy gain) - x r^3 mean(dy gain x).
inline void normalize_backward(const float* x, const float* gain, float r, const float* dy, const float* skip, int64_t width, float* dx,
                               float* d_gain_sum) {
  Vec dot = {};
  for (int64_t j = 0; j < width; j += lanes) {
    const int64_t left = width - j;
    dot = fma(load_first(dy + j, left) * load_first(gain + j, left), load_first(x + j, left), dot);
  }
  const Vec rv = splat(r);
  const Vec pull = splat(-(sum_lanes(dot) / static_cast<float>(width)) * r * r * r);
  for (int64_t j = 0; j < width; j += lanes) {
    const int64_t left = width - j;
    const Vec dyv = load_first(dy + j, left);
    const Vec xv = load_first(x + j, left);
    store_first(d_gain_sum + j, fma(dyv, xv * rv, load_first(d_gain_sum + j, left)), left);
    Vec d = fma(xv, pull, dyv * load_first(gain + j, left) * rv);
    if (skip != nullptr) d = d + load_first(skip + j, left);
    store_first(dx + j, d, left);
  }
}

void rmsnorm_backward(int64_t rows, int64_t width, const float* x, const float* rstd, const float* gain, const float* dy,
                      const float* d_skip, float* dx, float* y, float* d_gain_sum) {
  for (int64_t i = 0; i < rows; i++) {
    const int64_t at = i * width;
    if (y != nullptr) normalize(x + at, gain, rstd[i], width, y + at);
    normalize_backward(x + at, gain, rstd[i], dy + at, d_skip == nullptr ? nullptr : d_skip + at, width, dx + at, d_gain_sum);
  }
}

// Hugging Face's rotate_half convention: element i turns with element i + width / 2.
inline void rotate(float* x, const float* cosines, const float* sines, int64_t half) {
  for (int64_t j = 0; j < half; j += lanes) {
    const int64_t left = half - j;
    const Vec c = load_first(cosines + j, left), s = load_first(sines + j, left);
    const Vec a = load_first(x + j, left), b = load_first(x + half + j, left);
    store_first(x + j, a * c - b * s, left);
    store_first(x + half + j, b * c + a * s, left);
  }
}

inline void rotate_back(float* x, const float* cosines, const float* sines, int64_t half) {
  for (int64_t j = 0; j < half; j += lanes) {
    const int64_t left = half - j;
    const Vec c = load_first(cosines + j, left), s = load_first(sines + j, left);
    const Vec a = load_first(x + j, left), b = load_first(x + half + j, left);
    store_first(x + j, a * c + b * s, left);
    store_first(x + half + j, b * c - a * s, left);
  }
}

void qk_norm_rope_forward(const QkNormRope& shape, const float* qkv, float* out, float* rstd) {
  const int64_t width = shape.head_dim, half = width / 2;
  const int64_t heads = shape.q_heads + shape.kv_heads;
  for (int64_t i = 0; i < shape.rows; i++) {
    const float* cosines = shape.cosines + shape.positions[i] * half;
    const float* sines = shape.sines + shape.positions[i] * half;
    for (int64_t h = 0; h < heads; h++) {
      const float* x = qkv + (i * (heads + shape.kv_heads) + h) * width;
      float* y = out + (i * heads + h) * width;
      const float r = reciprocal_rms(square_sum(x, width), width, shape.eps);
      rstd[i * heads + h] = r;
      normalize(x, h < shape.q_heads ? shape.q_gain : shape.k_gain, r, width, y);
      rotate(y, cosines, sines, half);
    }
  }
}

void qk_norm_rope_backward(const QkNormRope& shape, const float* qkv, const float* rstd, float* d_qkv, float* d_q_gain_sum,
                           float* d_k_gain_sum) {
  const int64_t width = shape.head_dim, half = width / 2;
  const int64_t heads = shape.q_heads + shape.kv_heads;
  for (int64_t i = 0; i < shape.rows; i++) {
    const float* cosines = shape.cosines + shape.positions[i] * half;
    const float* sines = shape.sines + shape.positions[i] * half;
    for (int64_t h = 0; h < heads; h++) {
      const int64_t at = (i * (heads + shape.kv_heads) + h) * width;
      const bool is_q = h < shape.q_heads;
      rotate_back(d_qkv + at, cosines, sines, half);
      normalize_backward(qkv + at, is_q ? shape.q_gain : shape.k_gain, rstd[i * heads + h], d_qkv + at, nullptr, width, d_qkv + at,
                         is_q ? d_q_gain_sum : d_k_gain_sum);
    }
  }
}

inline Vec sigmoid(Vec x) {
  const Vec one = splat(1.0f);
  return one / (one + exp2(x * splat(-1.44269504f)));
}

void silu_forward(int64_t rows, int64_t width, const float* gate_up, float* act) {
  for (int64_t i = 0; i < rows; i++) {
    const float* gate = gate_up + i * 2 * width;
    const float* up = gate + width;
    float* out = act + i * width;
    for (int64_t j = 0; j < width; j += lanes) {
      const int64_t left = width - j;
      const Vec g = load_first(gate + j, left);
      store_first(out + j, g * sigmoid(g) * load_first(up + j, left), left);
    }
  }
}

void silu_backward(int64_t rows, int64_t width, const float* gate_up, const float* d_act, float* d_gate_up, float* act) {
  const Vec one = splat(1.0f);
  for (int64_t i = 0; i < rows; i++) {
    const float* gate = gate_up + i * 2 * width;
    const float* up = gate + width;
    const float* d = d_act + i * width;
    float* d_gate = d_gate_up + i * 2 * width;
    float* d_up = d_gate + width;
    float* out = act + i * width;
    for (int64_t j = 0; j < width; j += lanes) {
      const int64_t left = width - j;
      const Vec g = load_first(gate + j, left), u = load_first(up + j, left), dv = load_first(d + j, left);
      const Vec s = sigmoid(g);
      const Vec silu = g * s;
      store_first(out + j, silu * u, left);
      store_first(d_up + j, dv * silu, left);
      store_first(d_gate + j, dv * u * s * fma(g, one - s, one), left);
    }
  }
}

void transpose(int64_t rows, int64_t width, const float* in, int64_t in_stride, float* out, int64_t out_stride) {
  const int64_t padded = (rows + 15) / 16 * 16;
  int64_t i = 0;
  for (; i + 8 <= rows; i += 8)
    for (int64_t j = 0; j < width; j++)
      for (int64_t r = 0; r < 8; r++) out[j * out_stride + i + r] = in[(i + r) * in_stride + j];
  for (; i < padded; i++)
    for (int64_t j = 0; j < width; j++) out[j * out_stride + i] = i < rows ? in[i * in_stride + j] : 0.0f;
}

void sampling_weights(int64_t vocab, const float* logits, float temperature, float* weights) {
  float best = logits[0];
  for (int64_t j = 1; j < vocab; j++) best = logits[j] > best ? logits[j] : best;
  const Vec scale = splat(1.44269504f / temperature), top = splat(best);
  const Vec zero = {}, bottom = splat(-126.0f);
  for (int64_t j = 0; j < vocab; j += lanes) {
    const Vec a = (load_first(logits + j, vocab - j) - top) * scale;
    store_first(weights + j, a < bottom ? zero : exp2(a), vocab - j);
  }
}

void add_rows(int64_t n, const float* x, float* sum) {
  for (int64_t j = 0; j < n; j += lanes) store_first(sum + j, load_first(sum + j, n - j) + load_first(x + j, n - j), n - j);
}

}  // namespace
}  // namespace ECHO_TIER
}  // namespace echo
