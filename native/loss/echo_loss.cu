// The fused loss on a GPU, float32: one block per row, two reads and one write. The statistics of the row come from the first read, the
// gradient replaces the logits on the second. Sums over rows are left to the host, as on the CPU: no atomics anywhere.
//
// Everything of the objective that is a matter of one row's log-probability is here, through objective.h. 16-bit logits, a softcap and the
// entropy are not: whoever launches this must refuse them.
//
// Compiled with -fmad=false, so that objective.h rounds as it does on the CPU. The device code has no float64.
#ifndef ECHO_TIER
#define ECHO_TIER cuda
#endif

#include <float.h>

#include "../cuda/device.h"
#include "echo_loss.h"
#include "objective.h"

namespace echo {
namespace cuda {

// What one row adds to the totals: EchoRow without float64.
struct DeviceRow {
  float logprob;
  float nll_at_one;
  float ratio;
  float surrogate;
  float kl;
  bool weighted;
  bool empty;
  bool nonfinite;
  bool clipped_low;
  bool clipped_high;
  bool clipped_dual;
};

struct Partial {
  float max;  // -FLT_MAX over nothing: differences of sentinels are 0, those of infinities would be NaN
  float sum;  // of 2^((x - max) * scale); NaN if any x is
};

// Symmetric to the bit: both lanes of a shuffle compute the same.
ECHO_DEVICE Partial merge(Partial a, Partial b, float scale) {
  const float max = fmaxf(a.max, b.max);
  return {max, a.sum * exp2_approx((a.max - max) * scale) + b.sum * exp2_approx((b.max - max) * scale)};
}

ECHO_DEVICE void raise(Partial& p, float candidate, float scale) {
  if (candidate > p.max) {
    p.sum *= exp2_approx((p.max - candidate) * scale);
    p.max = candidate;
  }
}

ECHO_DEVICE float power(float x, float max, float scale) { return exp2_approx((x - max) * scale); }

ECHO_DEVICE bool aligned16(const float* x) { return (reinterpret_cast<uintptr_t>(x) & 15) == 0; }

// Column y becomes `value`; written out, because an index into a vector would put it on the stack.
ECHO_DEVICE void replace(float4& v, int64_t first, int64_t y, float value) {
  if (y == first) v.x = value;
  if (y == first + 1) v.y = value;
  if (y == first + 2) v.z = value;
  if (y == first + 3) v.w = value;
}

template <int threads>
ECHO_DEVICE Partial thread_partial(const float* x, int64_t vocab, int64_t target, float scale) {
  Partial p = {-FLT_MAX, 0.0f};
  const int64_t vectors = aligned16(x) ? vocab / 4 : 0;
  ECHO_UNROLL_4
  for (int64_t v = threadIdx.x; v < vectors; v += threads) {
    float4 q = load_first(x + 4 * v);
    replace(q, 4 * v, target, -INFINITY);
    raise(p, fmaxf(fmaxf(q.x, q.y), fmaxf(q.z, q.w)), scale);
    p.sum += (power(q.x, p.max, scale) + power(q.y, p.max, scale)) +
             (power(q.z, p.max, scale) + power(q.w, p.max, scale));
  }
  for (int64_t j = 4 * vectors + threadIdx.x; j < vocab; j += threads) {
    if (j == target) continue;
    raise(p, x[j], scale);
    p.sum += power(x[j], p.max, scale);
  }
  return p;
}

template <int threads>
struct Shared {
  Partial partials[threads / 32];
  float target_logit;
};

// Reads the row once. Every thread returns the same bits.
template <int threads>
ECHO_DEVICE RowStatistics block_statistics(const float* x, int64_t vocab, int64_t target, float scale,
                                           Shared<threads>* shared) {
  Partial p = thread_partial<threads>(x, vocab, target, scale);
  ECHO_UNROLL
  for (int lane_mask = 16; lane_mask > 0; lane_mask /= 2) {
    const Partial other = {shuffle_xor(p.max, lane_mask), shuffle_xor(p.sum, lane_mask)};
    p = merge(p, other, scale);
  }
  ECHO_BARRIER(1);  // nobody still reads the statistics of the row before
  if (threadIdx.x % 32 == 0) shared->partials[threadIdx.x / 32] = p;
  if (threadIdx.x == 0) shared->target_logit = x[target];
  ECHO_BARRIER(2);  // and from here on nobody reads what another thread's gradient overwrites
  Partial total = shared->partials[0];
  for (int warp = 1; warp < threads / 32; warp++) total = merge(total, shared->partials[warp], scale);
  return {total.max, total.sum, shared->target_logit, 0.0f};
}

template <int threads>
ECHO_DEVICE void fill_zero(float* x, int64_t begin, int64_t end) {
  int64_t j = begin + threadIdx.x;
  if (aligned16(x + begin)) {
    const int64_t vectors = (end - begin) / 4;
    for (int64_t v = threadIdx.x; v < vectors; v += threads)
      store_last(x + begin + 4 * v, float4{0.0f, 0.0f, 0.0f, 0.0f});
    j += 4 * vectors;
  }
  for (; j < end; j += threads) x[j] = 0.0f;
}

template <int threads>
ECHO_DEVICE void write_gradient(float* x, int64_t vocab, int64_t target, float max, float scale, float factor,
                                float at_target) {
  const int64_t vectors = aligned16(x) ? vocab / 4 : 0;
  ECHO_UNROLL_4
  for (int64_t v = threadIdx.x; v < vectors; v += threads) {
    float4 q = load_last(x + 4 * v);
    q.x = factor * power(q.x, max, scale);
    q.y = factor * power(q.y, max, scale);
    q.z = factor * power(q.z, max, scale);
    q.w = factor * power(q.w, max, scale);
    replace(q, 4 * v, target, at_target);
    store_last(x + 4 * v, q);
  }
  for (int64_t j = 4 * vectors + threadIdx.x; j < vocab; j += threads)
    x[j] = j == target ? at_target : factor * power(x[j], max, scale);
}

template <int threads>
ECHO_DEVICE void echo_row(const EchoLossArgs& a, const ObjectiveSettings& settings, int64_t i, DeviceRow* rows,
                          Shared<threads>* shared) {
  float* x = static_cast<float*>(a.logits) + i * a.ld;
  const int64_t target = a.targets[i];
  const float observation = a.observation_weights[i];
  const bool weighted = a.action_weights[i] != 0.0f || observation != 0.0f;
  const bool readable = target >= 0 && target < a.vocab;
  DeviceRow out = {};
  out.weighted = weighted;
  // The same for the whole block: no thread is left waiting at a barrier.
  if (!weighted || !readable) {
    fill_zero<threads>(x, 0, a.ld);
    if (weighted) {
      out.logprob = NAN;
      out.nonfinite = true;
    }
    if (threadIdx.x == 0) {
      rows[i] = out;
      if (a.logprobs != nullptr) a.logprobs[i] = out.logprob;
      if (a.nll_at_one_rows != nullptr) a.nll_at_one_rows[i] = out.nll_at_one;
    }
    return;
  }

  if (a.nll_at_one && observation != 0.0f && a.temperature != 1.0f)
    out.nll_at_one =
        -row_distribution(block_statistics<threads>(x, a.vocab, target, exponent_scale(1.0f), shared), 1.0f).logprob;
  const float scale = exponent_scale(a.temperature);
  const RowDistribution d =
      row_distribution(block_statistics<threads>(x, a.vocab, target, scale, shared), a.temperature);
  // Read here, not above: held through both passes they would not fit the registers.
  const RowWeights w = {a.action_weights[i],
                        a.observation_weights[i],
                        a.advantages[i],
                        a.old_logprobs != nullptr ? a.old_logprobs[i] : 0.0f,
                        a.old_logprobs == nullptr,
                        a.log_ratios != nullptr,
                        a.log_ratios != nullptr ? a.log_ratios[i] : 0.0f,
                        a.rollout_weights != nullptr ? a.rollout_weights[i] : 1.0f,
                        a.reference_logprobs != nullptr ? a.reference_logprobs[i] : 0.0f};
  const RowObjective o = row_objective(d.logprob, w, settings);
  out.logprob = d.logprob;
  out.empty = d.empty;
  out.nonfinite = !(d.logprob - d.logprob == 0.0f);
  if (!d.empty) {
    out.ratio = o.ratio;
    out.surrogate = o.surrogate;
    out.kl = o.kl;
    out.clipped_low = o.clipped_low;
    out.clipped_high = o.clipped_high;
    out.clipped_dual = o.clipped_dual;
  }
  if (a.nll_at_one && observation != 0.0f && a.temperature == 1.0f) out.nll_at_one = -d.logprob;
  if (threadIdx.x == 0) {
    rows[i] = out;
    if (a.logprobs != nullptr) a.logprobs[i] = out.logprob;
    if (a.nll_at_one_rows != nullptr) a.nll_at_one_rows[i] = out.nll_at_one;
  }

  const float g = o.coefficient * a.grad_scale / a.temperature;
  if (d.empty || (g == 0.0f && d.sum == d.sum)) {
    fill_zero<threads>(x, 0, a.vocab);
  } else {
    // A NaN sum makes the whole row NaN.
    write_gradient<threads>(x, a.vocab, target, d.max, scale, g / d.sum, -g * d.complement);
  }
  fill_zero<threads>(x, a.vocab, a.ld);
}

// Pointers of `a` are device pointers; `totals` is not used. rows: [a.rows], what each row adds to the totals. Any grid of one dimension.
template <int threads>
ECHO_GLOBAL(threads) echo_loss_rows(EchoLossArgs a, DeviceRow* rows) {
  ECHO_SHARED(Shared<threads>, shared, 1);
  const ObjectiveSettings settings = {1.0f - a.epsilon_low, 1.0f + a.epsilon_high, a.log_ratio_clamp, a.dual_clip,
                                      a.surrogate == Surrogate::cispo, a.reference_logprobs != nullptr ? a.kl_estimator : 0,
                                      a.kl_coefficient};
  for (int64_t i = blockIdx.x; i < a.rows; i += gridDim.x) echo_row<threads>(a, settings, i, rows, shared);
}

#if defined(__CUDACC__)
template __global__ void echo_loss_rows<512>(EchoLossArgs, DeviceRow*);
template __global__ void echo_loss_rows<1024>(EchoLossArgs, DeviceRow*);
#endif

}  // namespace cuda
}  // namespace echo
