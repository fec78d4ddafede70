// Tier unit. Two passes over each row, the second out of the cache: maximum and sum, then the gradient in place.
#include "row_kernels.h"

#include <float.h>

#include "../core/vec.h"
#include "objective.h"

namespace echo {
namespace ECHO_TIER {
namespace {

// Lane-online softmax: every lane keeps its own running maximum, and its sums are rescaled only when some lane's maximum grew, which
// soon is never. Four sums share one maximum; every `flush` steps they are added to `total`, so that no float32 sum is long. The
// shape of the sum depends on nothing but (vocab, target).
struct Lanes {
  Vec max;
  Vec sum[4];
  Vec total;
};

constexpr int64_t flush = 64;

ECHO_INLINE void raise_max(Lanes& l, Vec candidate, Vec scale) {
  const Vec raised = vec_max(candidate, l.max);
  const Vec factor = vec_exp2(vec_mul(vec_sub(l.max, raised), scale));
  for (int k = 0; k < 4; k++) l.sum[k] = vec_mul(l.sum[k], factor);
  l.total = vec_mul(l.total, factor);
  l.max = raised;
}

// x - max before the product: exact where it matters, so that a common shift of all logits cancels, and free of overflow.
ECHO_INLINE void add_vector(Lanes& l, Vec x, Vec scale) {
  if (vec_any_greater(x, l.max)) raise_max(l, x, scale);
  l.sum[0] = vec_add(l.sum[0], vec_exp2(vec_mul(vec_sub(x, l.max), scale)));
}

ECHO_INLINE void flush_sums(Lanes& l) {
  l.total = vec_add(l.total, vec_add(vec_add(l.sum[0], l.sum[1]), vec_add(l.sum[2], l.sum[3])));
  for (int k = 0; k < 4; k++) l.sum[k] = vec_set(0.0f);
}

ECHO_INLINE void add_four(Lanes& l, const float* x, Vec scale) {
  const Vec a = vec_load(x);
  const Vec b = vec_load(x + lanes);
  const Vec c = vec_load(x + 2 * lanes);
  const Vec d = vec_load(x + 3 * lanes);
  // A NaN may hide a larger value of its lane here; that lane's sums are NaN then anyway.
  const Vec largest = vec_max(vec_max(a, b), vec_max(c, d));
  if (__builtin_expect(vec_any_greater(largest, l.max), 0)) raise_max(l, largest, scale);
  l.sum[0] = vec_add(l.sum[0], vec_exp2(vec_mul(vec_sub(a, l.max), scale)));
  l.sum[1] = vec_add(l.sum[1], vec_exp2(vec_mul(vec_sub(b, l.max), scale)));
  l.sum[2] = vec_add(l.sum[2], vec_exp2(vec_mul(vec_sub(c, l.max), scale)));
  l.sum[3] = vec_add(l.sum[3], vec_exp2(vec_mul(vec_sub(d, l.max), scale)));
}

// n is a multiple of `lanes`.
ECHO_INLINE void add_range(Lanes& l, const float* x, int64_t n, Vec scale) {
  int64_t j = 0;
  for (int64_t fours = n / (4 * lanes); fours > 0;) {
    const int64_t steps = fours < flush ? fours : flush;
    for (int64_t k = 0; k < steps; k++, j += 4 * lanes) add_four(l, x + j, scale);
    flush_sums(l);
    fours -= steps;
  }
  for (; j < n; j += lanes) add_vector(l, vec_load(x + j), scale);
}

RowStatistics row_statistics(const float* x, int64_t vocab, int64_t target, float exponent) {
  const Vec scale = vec_set(exponent);
  Lanes l;
  l.max = vec_set(-FLT_MAX);
  l.total = vec_set(0.0f);
  for (int k = 0; k < 4; k++) l.sum[k] = vec_set(0.0f);
  const int64_t full = vocab / lanes * lanes;
  const int64_t block = target / lanes * lanes;
  add_range(l, x, block, scale);
  const Vec with_target = block < full ? vec_load(x + block)
                                       : vec_load_part(x + block, static_cast<int>(vocab - block), -INFINITY);
  add_vector(l, vec_replace(with_target, static_cast<int>(target - block), -INFINITY), scale);
  if (block < full) {
    add_range(l, x + block + lanes, full - block - lanes, scale);
    if (full < vocab) add_vector(l, vec_load_part(x + full, static_cast<int>(vocab - full), -INFINITY), scale);
  }

  float max[lanes];
  float sum[lanes];
  vec_store(max, l.max);
  RowStatistics row;
  row.target_logit = x[target];
  row.rest_max = max[0];
  for (int i = 1; i < lanes; i++)
    if (max[i] > row.rest_max) row.rest_max = max[i];
  const Vec factor = vec_exp2(vec_mul(vec_sub(l.max, vec_set(row.rest_max)), scale));
  flush_sums(l);
  vec_store(sum, vec_mul(l.total, factor));
  row.rest_sum = 0;
  for (int i = 0; i < lanes; i++) row.rest_sum += sum[i];
  return row;
}

// x_j = factor * 2^((x_j - max) * scale). A NaN factor makes the whole row NaN.
void write_gradient(float* x, int64_t vocab, float max_logit, float exponent, float factor) {
  const Vec scale = vec_set(exponent);
  const Vec max = vec_set(max_logit);
  const Vec q = vec_set(factor);
  int64_t j = 0;
  for (; j + 4 * lanes <= vocab; j += 4 * lanes)
    for (int k = 0; k < 4; k++) {
      float* p = x + j + k * lanes;
      vec_store(p, vec_mul(q, vec_exp2(vec_mul(vec_sub(vec_load(p), max), scale))));
    }
  for (; j + lanes <= vocab; j += lanes)
    vec_store(x + j, vec_mul(q, vec_exp2(vec_mul(vec_sub(vec_load(x + j), max), scale))));
  if (j < vocab) {
    const int rest = static_cast<int>(vocab - j);
    const Vec v = vec_load_part(x + j, rest, -INFINITY);
    vec_store_part(x + j, vec_mul(q, vec_exp2(vec_mul(vec_sub(v, max), scale))), rest);
  }
}

void fill(float* x, int64_t n, float value) {
  for (int64_t j = 0; j < n; j++) x[j] = value;
}

void echo_row(const EchoLossArgs& a, const ObjectiveSettings& settings, int64_t i, EchoRow& out) {
  float* x = a.logits + i * a.ld;
  const RowWeights w = {a.action_weights[i], a.observation_weights[i], a.advantages[i],
                        a.old_logprobs != nullptr ? a.old_logprobs[i] : 0.0f, a.old_logprobs == nullptr};
  out = {};
  if (w.action == 0.0f && w.observation == 0.0f) {
    memset(x, 0, sizeof(float) * static_cast<size_t>(a.ld));
    return;
  }
  const int64_t target = a.targets[i];
  const float exponent = exponent_scale(a.temperature);
  const RowDistribution d = row_distribution(row_statistics(x, a.vocab, target, exponent), a.temperature);
  const RowObjective o = row_objective(d.logprob, w, settings);
  out.weighted = true;
  out.logprob = d.logprob;
  out.empty = d.empty;
  out.nonfinite = !(d.logprob - d.logprob == 0.0f);
  if (!d.empty) {
    out.ratio = o.ratio;
    out.surrogate = o.surrogate;
    out.clipped_low = o.clipped_low;
    out.clipped_high = o.clipped_high;
  }
  if (w.observation != 0.0f && (a.nll_at_one || a.temperature == 1.0f)) {
    out.nll_at_one = -d.logprob;
    if (a.temperature != 1.0f)
      out.nll_at_one = -row_distribution(row_statistics(x, a.vocab, target, exponent_scale(1.0f)), 1.0f).logprob;
  }

  if (d.empty) {
    memset(x, 0, sizeof(float) * static_cast<size_t>(a.ld));
    return;
  }
  const Wide g = o.coefficient * a.grad_scale / a.temperature;
  if (d.sum != d.sum) {
    fill(x, a.vocab, NAN);
  } else if (g == 0) {
    memset(x, 0, sizeof(float) * static_cast<size_t>(a.vocab));
  } else {
    write_gradient(x, a.vocab, d.max, exponent, static_cast<float>(g / d.sum));
    // Formed apart and rounded once: p - 1 from a rounded p is wrong by 100 % at p = 1 - 1e-7.
    x[target] = static_cast<float>(-g * d.complement);
  }
  if (a.ld > a.vocab) memset(x + a.vocab, 0, sizeof(float) * static_cast<size_t>(a.ld - a.vocab));
}

void echo_rows(const EchoLossArgs& args, int64_t begin, int64_t end, EchoRow* rows) {
  const ObjectiveSettings settings = {1.0f - args.epsilon_low, 1.0f + args.epsilon_high, args.log_ratio_clamp};
  for (int64_t i = begin; i < end; i++) echo_row(args, settings, i, rows[i]);
}

void logprob_rows(const TokenLogprobsArgs& a, int64_t begin, int64_t end) {
  const float exponent = exponent_scale(a.temperature);
  for (int64_t i = begin; i < end; i++) {
    const int64_t target = a.targets[i];
    a.logprobs[i] =
        target < 0 ? 0.0f
                   : row_distribution(row_statistics(a.logits + i * a.ld, a.vocab, target, exponent), a.temperature).logprob;
  }
}

void update_row(float* x, int64_t n) {
  const Vec one = vec_set(1.0f);
  int64_t j = 0;
  for (; j + lanes <= n; j += lanes) vec_store(x + j, vec_add(vec_load(x + j), one));
  for (; j < n; j++) x[j] += 1.0f;
}

}  // namespace

extern const RowKernels row_kernels;
const RowKernels row_kernels = {echo_rows, logprob_rows, update_row};

}  // namespace ECHO_TIER
}  // namespace echo
