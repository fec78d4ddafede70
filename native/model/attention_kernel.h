// Causal attention of a block of queries that share a key-value head. Only for tier units.
//
// A query row's result depends on its own keys alone: scores are one chain over head_dim per key; the softmax sum is laned by absolute key
// index; values are summed in one chain over the keys, which the zero weights of masked keys leave as it is. So the rows of a training
// batch and the single row of a cached sampling step get the same bits.
#pragma once

#include "gemm_kernel.h"
#include "row_kernels.h"

namespace echo {
namespace ECHO_TIER {
namespace {

constexpr int64_t query_block = 32;

inline int64_t padded_keys(int64_t n) { return (n + 15) / 16 * 16; }

inline void all_columns(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, bool a_transposed, const float* b, int64_t ldb,
                        float* c, int64_t ldc, bool accumulate) {
  gemm({m, n, k, a, lda, a_transposed, b, ldb, false, c, ldc, accumulate}, 0, gemm_panels(n));
}

int64_t attention_forward_scratch(int64_t keys) { return query_block * padded_keys(keys); }

// Replaces scores [width] by exp((s - max) * scale); columns from `count` on become 0. Returns 1 / sum and the maximum.
inline float softmax_weights(float* s, int64_t count, int64_t width, float scale, float* max_out) {
  const IntVec index = lane_index();
  const IntVec limit = IntVec{} + static_cast<int32_t>(count);
  Vec best = splat(s[0]);
  int64_t j = 0;
  for (; j + lanes <= count; j += lanes) {
    const Vec v = load(s + j);
    best = v > best ? v : best;
  }
  for (; j < count; j++) {
    const Vec v = splat(s[j]);
    best = v > best ? v : best;
  }
  const float top = max_lanes(best);
  const Vec topv = splat(top), scalev = splat(scale * 1.44269504f), zero = {};
  Vec sum = {};
  for (j = 0; j < count; j += lanes) {
    Vec e = exp2((load(s + j) - topv) * scalev);
    if (count - j < lanes) e = index + static_cast<int32_t>(j) < limit ? e : zero;
    sum = sum + e;
    store(s + j, e);
  }
  for (; j < width; j += lanes) store(s + j, zero);
  *max_out = top;
  return 1.0f / sum_lanes(sum);
}

void attention_forward(const AttentionForward& args) {
  // A single row: the heads themselves are the rows of the products.
  const bool single = args.rows == 1;
  const int64_t sets = single ? 1 : args.heads;
  const int64_t set_rows = single ? args.heads : args.rows;
  const int64_t q_step = single ? args.head_dim : args.q_stride;
  const int64_t out_step = single ? args.head_dim : args.out_stride;
  for (int64_t set = 0; set < sets; set++) {
    for (int64_t begin = 0; begin < set_rows; begin += query_block) {
      const int64_t rows = set_rows - begin < query_block ? set_rows - begin : query_block;
      const int64_t keys = args.first_position + (single ? 1 : begin + rows);
      const int64_t width = padded_keys(keys);
      float* out = args.out + set * args.head_dim + begin * out_step;
      float inverse[query_block];
      all_columns(rows, width, args.head_dim, args.q + set * args.head_dim + begin * q_step, q_step, false, args.keys, args.key_stride,
                  args.scratch, width, false);
      for (int64_t r = 0; r < rows; r++) {
        const int64_t count = single ? keys : args.first_position + begin + r + 1;
        float top;
        inverse[r] = softmax_weights(args.scratch + r * width, count, width, args.scale, &top);
        if (args.stats != nullptr) {
          float* stats = args.stats + (single ? 2 * r : (begin + r) * args.stats_stride + 2 * set);
          stats[0] = top;
          stats[1] = inverse[r];
        }
      }
      all_columns(rows, args.head_dim, keys, args.scratch, width, false, args.values, args.value_stride, out, out_step, false);
      for (int64_t r = 0; r < rows; r++) {
        const Vec factor = splat(inverse[r]);
        for (int64_t j = 0; j < args.head_dim; j += lanes)
          store_first(out + r * out_step + j, load_first(out + r * out_step + j, args.head_dim - j) * factor, args.head_dim - j);
      }
    }
  }
}

int64_t attention_backward_scratch(int64_t rows, int64_t head_dim) {
  return 2 * (head_dim + query_block) * padded_keys(rows);
}

void attention_backward(const AttentionBackward& args) {
  const int64_t n = args.rows, width = args.head_dim, stride = padded_keys(n);
  float* keys_t = args.scratch;
  float* values_t = keys_t + width * stride;
  float* p = values_t + width * stride;
  float* dp = p + query_block * stride;
  transpose(n, width, args.k, args.qk_stride, keys_t, stride);
  transpose(n, width, args.v, args.v_stride, values_t, stride);
  const IntVec index = lane_index();
  const Vec scalev = splat(args.scale), exponent = splat(args.scale * 1.44269504f), zero = {};
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < width; j++) args.dk[i * args.d_stride + j] = args.dv[i * args.d_stride + j] = 0.0f;
  for (int64_t h = 0; h < args.heads; h++) {
    for (int64_t begin = 0; begin < n; begin += query_block) {
      const int64_t rows = n - begin < query_block ? n - begin : query_block;
      const int64_t keys = begin + rows, columns = padded_keys(keys);
      const float* q = args.q + begin * args.qk_stride + h * width;
      const float* out = args.out + begin * args.out_stride + h * width;
      const float* d_out = args.d_out + begin * args.out_stride + h * width;
      all_columns(rows, columns, width, q, args.qk_stride, false, keys_t, stride, p, columns, false);
      all_columns(rows, columns, width, d_out, args.out_stride, false, values_t, stride, dp, columns, false);
      for (int64_t r = 0; r < rows; r++) {
        const float* stats = args.stats + (begin + r) * args.stats_stride + 2 * h;
        const Vec top = splat(stats[0]), inverse = splat(stats[1]);
        Vec dot = {};
        for (int64_t j = 0; j < width; j += lanes)
          dot = fma(load_first(out + r * args.out_stride + j, width - j), load_first(d_out + r * args.out_stride + j, width - j), dot);
        const Vec delta = splat(sum_lanes(dot));
        const int64_t count = begin + r + 1;
        const IntVec limit = IntVec{} + static_cast<int32_t>(count);
        float* pr = p + r * columns;
        float* dr = dp + r * columns;
        int64_t j = 0;
        for (; j < count; j += lanes) {
          Vec e = exp2((load(pr + j) - top) * exponent) * inverse;
          Vec d = e * (load(dr + j) - delta) * scalev;
          if (count - j < lanes) {
            const IntVec inside = index + static_cast<int32_t>(j) < limit;
            e = inside ? e : zero;
            d = inside ? d : zero;
          }
          store(pr + j, e);
          store(dr + j, d);
        }
        for (; j < columns; j += lanes) {
          store(pr + j, zero);
          store(dr + j, zero);
        }
      }
      all_columns(rows, width, keys, dp, columns, false, args.k, args.qk_stride, args.dq + begin * args.d_stride + h * width,
                  args.d_stride, false);
      all_columns(keys, width, rows, dp, columns, true, q, args.qk_stride, args.dk, args.d_stride, true);
      all_columns(keys, width, rows, p, columns, true, d_out, args.out_stride, args.dv, args.d_stride, true);
    }
  }
}

}  // namespace
}  // namespace ECHO_TIER
}  // namespace echo
