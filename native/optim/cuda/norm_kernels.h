// The Euclidean norm of all gradients, without float64: a sum of squares per chunk, to its own place; then one block adds those in a fixed
// order. Squares are taken exactly (fmaf gives their error) and added with their errors (two_sum), so that a float32 sum is as good as one
// of twice its bits. Entries whose squares would leave float32 are scaled and have sums of their own, as in Blue (1978), A portable Fortran
// program to find the Euclidean norm of a vector.
#pragma once

#include "optimizer_table.h"

namespace echo {
namespace cuda {

constexpr int norm_threads = 512;
constexpr int finish_threads = 512;

// |x| from 2^-50 to below 2^50: neither squares nor their errors leave float32, and 2^16 of them do not overflow.
constexpr uint32_t least_medium = (127u - 50u) << 23;
constexpr uint32_t least_large = (127u + 50u) << 23;
constexpr uint32_t infinity_bits = 255u << 23;
constexpr int32_t small_shift = 100;  // 2^-149 becomes 2^-49
constexpr int32_t large_shift = -78;  // 2^127 becomes 2^49

struct CarriedSum {
  float sum;
  float rest;
};

struct SquareSums {
  CarriedSum small, medium, large;
  int32_t not_finite;
};

ECHO_DEVICE void add_square(CarriedSum& to, float x) {
  const float square = x * x;
  const float error = fmaf(x, x, -square);
  const TwoFloat sum = two_sum(to.sum, square);
  to.sum = sum.high;
  to.rest += sum.low + error;
}

ECHO_DEVICE uint32_t magnitude_bits(float x) { return float_bits(x) & 0x7fffffffu; }

ECHO_DEVICE bool is_medium(float x) {
  const uint32_t bits = magnitude_bits(x);
  return bits == 0 || bits - least_medium < least_large - least_medium;
}

ECHO_DEVICE void add_any(SquareSums& to, float x) {
  const uint32_t bits = magnitude_bits(x);
  if (bits >= infinity_bits) to.not_finite |= bits > infinity_bits ? has_nan : has_infinity;
  else if (bits >= least_large) add_square(to.large, x * power_of_two(large_shift));
  else if (bits >= least_medium) add_square(to.medium, x);
  else add_square(to.small, x * power_of_two(small_shift));
}

ECHO_DEVICE void add_four(SquareSums& to, float a, float b, float c, float d) {
  if (is_medium(a) && is_medium(b) && is_medium(c) && is_medium(d)) {
    add_square(to.medium, a);
    add_square(to.medium, b);
    add_square(to.medium, c);
    add_square(to.medium, d);
  } else {
    add_any(to, a);
    add_any(to, b);
    add_any(to, c);
    add_any(to, d);
  }
}

ECHO_DEVICE float low_bfloat16(uint32_t packed) { return bits_float(packed << 16); }
ECHO_DEVICE float high_bfloat16(uint32_t packed) { return bits_float(packed & 0xffff0000u); }

ECHO_DEVICE void add_vector(SquareSums& to, const float*, uint4 v) {
  add_four(to, bits_float(v.x), bits_float(v.y), bits_float(v.z), bits_float(v.w));
}
ECHO_DEVICE void add_vector(SquareSums& to, const uint16_t*, uint4 v) {
  add_four(to, low_bfloat16(v.x), high_bfloat16(v.x), low_bfloat16(v.y), high_bfloat16(v.y));
  add_four(to, low_bfloat16(v.z), high_bfloat16(v.z), low_bfloat16(v.w), high_bfloat16(v.w));
}

ECHO_DEVICE float widened(float x) { return x; }
ECHO_DEVICE float widened(uint16_t x) { return bits_float(static_cast<uint32_t>(x) << 16); }

// This thread's part of n entries: single ones up to `head` and after the last whole vector, 16 bytes at a time between.
template <typename Grad>
ECHO_DEVICE void add_chunk(SquareSums& to, const Grad* g, int32_t n, int32_t head) {
  constexpr int32_t width = 16 / static_cast<int32_t>(sizeof(Grad));
  constexpr int32_t loads = 4;  // in flight
  const int32_t thread = static_cast<int32_t>(threadIdx.x);
  const int32_t vectors = (n - head) / width;
  ECHO_NO_UNROLL
  for (int32_t i = thread; i < vectors; i += loads * norm_threads) {
    uint4 loaded[loads];
    ECHO_UNROLL
    for (int32_t k = 0; k < loads; k++) {
      loaded[k] = uint4{0, 0, 0, 0};
      if (i + k * norm_threads < vectors) loaded[k] = load_streaming(g + head + int64_t{i + k * norm_threads} * width);
    }
    ECHO_UNROLL
    for (int32_t k = 0; k < loads; k++) add_vector(to, g, loaded[k]);
  }
  ECHO_NO_UNROLL
  for (int32_t i = thread; i < head; i += norm_threads) add_any(to, widened(g[i]));
  ECHO_NO_UNROLL
  for (int32_t i = head + vectors * width + thread; i < n; i += norm_threads) add_any(to, widened(g[i]));
}

ECHO_DEVICE WideFloat shuffle_xor_wide(WideFloat value, int lane_mask) {
  return {shuffle_xor(value.high, lane_mask, 32), shuffle_xor(value.low, lane_mask, 32),
          static_cast<int32_t>(float_bits(shuffle_xor(bits_float(static_cast<uint32_t>(value.exponent)), lane_mask, 32)))};
}

ECHO_DEVICE ChunkSquares add_over_warp(ChunkSquares value) {
  ECHO_NO_UNROLL
  for (int lane_mask = 16; lane_mask > 0; lane_mask /= 2) {
    const float flags = shuffle_xor(bits_float(static_cast<uint32_t>(value.not_finite)), lane_mask, 32);
    value.sum = add(value.sum, shuffle_xor_wide(value.sum, lane_mask));
    value.not_finite |= static_cast<int32_t>(float_bits(flags));
  }
  return value;
}

// Over the block, in two halves with a barrier between them: to `warps`, which has room for each warp; then, in the first warp, from there.
ECHO_DEVICE void add_warps(ChunkSquares value, ChunkSquares* warps) {
  value = add_over_warp(value);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
}
template <int threads>
ECHO_DEVICE ChunkSquares add_block(const ChunkSquares* warps) {
  ChunkSquares value = {{0.0f, 0.0f, zero_exponent}, 0};
  if (threadIdx.x < threads / 32) value = warps[threadIdx.x];
  return add_over_warp(value);
}

// One block per chunk.
ECHO_GLOBAL(norm_threads, 2) sum_of_squares_chunks(const OptimizerTensor* tensors, const OptimizerChunk* chunks, ChunkSquares* squares) {
  ECHO_SHARED(ChunkSquares, warps, norm_threads / 32);
  const OptimizerChunk chunk = chunks[blockIdx.x];
  const OptimizerTensor& tensor = tensors[chunk.tensor];
  const int32_t first = tensor.first_grad_vector;
  const int32_t head = first == no_vectors || first > chunk.size ? chunk.size : first;
  SquareSums sums = {{0, 0}, {0, 0}, {0, 0}, 0};
  if (tensor.bfloat16_grad != nullptr) add_chunk(sums, tensor.bfloat16_grad + chunk.begin, chunk.size, head);
  else add_chunk(sums, tensor.grad + chunk.begin, chunk.size, head);
  const WideFloat small = wide_float(sums.small.sum, sums.small.rest, -2 * small_shift);
  const WideFloat medium = wide_float(sums.medium.sum, sums.medium.rest, 0);
  const WideFloat large = wide_float(sums.large.sum, sums.large.rest, -2 * large_shift);
  add_warps(ChunkSquares{add(add(small, medium), large), sums.not_finite}, warps);
  ECHO_BARRIER(21);
  if (threadIdx.x >= 32) return;
  const ChunkSquares total = add_block<norm_threads>(warps);
  if (threadIdx.x == 0) squares[blockIdx.x] = total;
}

// One block. Norm, and min(1, max_norm / (norm + 1e-6)) grad_scale, of gradients times grad_scale.
ECHO_GLOBAL(finish_threads, 1)
decide_step(const ChunkSquares* squares, int64_t chunks, WideFloat grad_scale, WideFloat max_norm, bool clips, WideFloat tiny,
                 StepDecision* decision) {
  ECHO_SHARED(ChunkSquares, warps, finish_threads / 32);
  ChunkSquares own = {{0.0f, 0.0f, zero_exponent}, 0};
  ECHO_NO_UNROLL
  for (int64_t i = threadIdx.x; i < chunks; i += finish_threads) {
    const ChunkSquares other = squares[i];
    own.sum = add(own.sum, other.sum);
    own.not_finite |= other.not_finite;
  }
  add_warps(own, warps);
  ECHO_BARRIER(22);
  if (threadIdx.x >= 32) return;
  const ChunkSquares total = add_block<finish_threads>(warps);
  if (threadIdx.x != 0) return;
  StepDecision result;
  result.norm = multiply(square_root(total.sum), grad_scale);
  result.not_finite = total.not_finite;
  result.factor = to_float(grad_scale);
  if (clips) {
    const WideFloat clip = divide(max_norm, add(result.norm, tiny));
    if (below_one(clip)) result.factor = to_float(multiply(clip, grad_scale));
  }
  *decision = result;
}

}  // namespace cuda
}  // namespace echo
