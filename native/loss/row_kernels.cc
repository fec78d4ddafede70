// Tier unit. Two passes over each row, the second out of the cache: exponentials in place of the logits and their sum, then one
// multiplication each. An exponential costs ten times what a store to the cache does.
#include "row_kernels.h"

#include <float.h>

#include "../core/vec.h"
#include "objective.h"

namespace echo {
namespace ECHO_TIER {
namespace {

// Online softmax: exponentials are relative to the largest logit so far. An epoch is a run of logits with the same one; when a larger logit
// comes, the sums are rescaled and a new epoch begins, which soon is never. Should epochs run out (ascending logits), the next one takes
// the maximum of the whole row and is the last.
constexpr int most_epochs = 48;
constexpr int64_t flush = 64;  // groups after which the four running sums join `total`: no float32 sum is long

struct Pass {
  Vec scale;
  Vec max;
  Vec sum[4];
  Vec total;
  int epochs;
  int64_t first[most_epochs + 1];  // logit of each epoch
  float epoch_max[most_epochs];
};

// x - max before the product: exact where it matters, so that a common shift of all logits cancels, and free of overflow.
ECHO_INLINE Vec exponential(Vec x, Vec max, Vec scale) { return vec_exp2(vec_mul(vec_sub(x, max), scale)); }

float largest_of(const float* x, int64_t begin, int64_t end, int64_t target, float least) {
  float max = least;
  for (int64_t j = begin; j < end; j++)
    if (x[j] > max && j != target) max = x[j];
  return max;
}

// `largest`: the largest logits of the vectors at j, per lane. Row: x, vocab, target.
__attribute__((noinline)) void begin_epoch(Pass& p, Vec largest, int64_t j, const float* x, int64_t vocab, int64_t target) {
  float max = vec_largest(vec_max(largest, p.max));
  if (p.epochs == most_epochs - 1) max = largest_of(x, j, vocab, target, max);
  const Vec factor = exponential(p.max, vec_set(max), p.scale);
  for (Vec& sum : p.sum) sum = vec_mul(sum, factor);
  p.total = vec_mul(p.total, factor);
  p.max = vec_set(max);
  p.first[p.epochs] = j;
  p.epoch_max[p.epochs++] = max;
}

ECHO_INLINE void join_sums(Pass& p) {
  p.total = vec_add(p.total, vec_add(vec_add(p.sum[0], p.sum[1]), vec_add(p.sum[2], p.sum[3])));
  for (Vec& sum : p.sum) sum = vec_set(0.0f);
}

// Whole vectors of [begin, end), without the target.
template <bool write>
ECHO_INLINE void add_range(Pass& p, float* out, const float* x, int64_t begin, int64_t end, int64_t vocab, int64_t target) {
  int64_t j = begin;
  for (int64_t groups = (end - begin) / (4 * lanes); groups > 0;) {
    const int64_t steps = groups < flush ? groups : flush;
    groups -= steps;
    Vec max = p.max;
    Vec s0 = vec_set(0.0f), s1 = s0, s2 = s0, s3 = s0;
    for (const int64_t stop = j + steps * 4 * lanes; j < stop; j += 4 * lanes) {
      const Vec a = vec_load(x + j);
      const Vec b = vec_load(x + j + lanes);
      const Vec c = vec_load(x + j + 2 * lanes);
      const Vec d = vec_load(x + j + 3 * lanes);
      // A NaN may hide a larger logit here; the sums are NaN then anyway.
      const Vec largest = vec_max(vec_max(a, b), vec_max(c, d));
      if (__builtin_expect(vec_any_greater(largest, max), 0)) {
        p.sum[0] = s0, p.sum[1] = s1, p.sum[2] = s2, p.sum[3] = s3;
        begin_epoch(p, largest, j, x, vocab, target);
        s0 = p.sum[0], s1 = p.sum[1], s2 = p.sum[2], s3 = p.sum[3];
        max = p.max;
      }
      const Vec ea = exponential(a, max, p.scale);
      const Vec eb = exponential(b, max, p.scale);
      const Vec ec = exponential(c, max, p.scale);
      const Vec ed = exponential(d, max, p.scale);
      if (write) {
        vec_store(out + j, ea);
        vec_store(out + j + lanes, eb);
        vec_store(out + j + 2 * lanes, ec);
        vec_store(out + j + 3 * lanes, ed);
      }
      s0 = vec_add(s0, ea);
      s1 = vec_add(s1, eb);
      s2 = vec_add(s2, ec);
      s3 = vec_add(s3, ed);
    }
    p.sum[0] = s0, p.sum[1] = s1, p.sum[2] = s2, p.sum[3] = s3;
    join_sums(p);
  }
  for (; j < end; j += lanes) {
    const Vec v = vec_load(x + j);
    if (vec_any_greater(v, p.max)) begin_epoch(p, v, j, x, vocab, target);
    const Vec e = exponential(v, p.max, p.scale);
    if (write) vec_store(out + j, e);
    p.total = vec_add(p.total, e);
  }
}

// One vector of `count` logits, the others -inf; the target, if it is among them, too.
template <bool write>
void add_odd(Pass& p, float* out, const float* x, int64_t j, int count, int64_t vocab, int64_t target) {
  Vec v = vec_load_part(x + j, count, -INFINITY);
  if (target >= j && target < j + count) v = vec_replace(v, static_cast<int>(target - j), -INFINITY);
  if (vec_any_greater(v, p.max)) begin_epoch(p, v, j, x, vocab, target);
  const Vec e = exponential(v, p.max, p.scale);
  if (write) vec_store_part(out + j, e, count);
  p.total = vec_add(p.total, e);
}

// First pass. With `write`, out = x and exponentials take the place of the logits, 0 that of the target's; else `out` is not used. The
// order of the sums is a function of (vocab, target) alone.
template <bool write>
RowStatistics row_statistics(Pass& p, float* out, const float* x, int64_t vocab, int64_t target, float exponent) {
  p.scale = vec_set(exponent);
  p.max = vec_set(-FLT_MAX);
  p.total = vec_set(0.0f);
  for (Vec& sum : p.sum) sum = vec_set(0.0f);
  p.epochs = 1;
  p.first[0] = 0;
  p.epoch_max[0] = -FLT_MAX;
  RowStatistics row;
  row.target_logit = x[target];
  const int64_t whole = vocab / lanes * lanes;
  const int64_t hole = target / lanes * lanes;
  add_range<write>(p, out, x, 0, hole, vocab, target);
  if (hole < whole) {
    add_odd<write>(p, out, x, hole, lanes, vocab, target);
    add_range<write>(p, out, x, hole + lanes, whole, vocab, target);
  }
  if (whole < vocab) add_odd<write>(p, out, x, whole, static_cast<int>(vocab - whole), vocab, target);
  p.first[p.epochs] = vocab;

  float sum[lanes];
  vec_store(sum, p.total);
  row.rest_max = p.epoch_max[p.epochs - 1];
  row.rest_sum = 0;
  for (int i = 0; i < lanes; i++) row.rest_sum += sum[i];
  return row;
}

// Second pass: each exponential times `factor`, and times what brings its epoch to the maximum of the row.
void scale_exponentials(const Pass& p, float* x, float factor) {
  for (int epoch = 0; epoch < p.epochs; epoch++) {
    const Vec q = vec_mul(vec_set(factor), exponential(vec_set(p.epoch_max[epoch]), p.max, p.scale));
    int64_t j = p.first[epoch];
    const int64_t end = p.first[epoch + 1];
    for (; j + 4 * lanes <= end; j += 4 * lanes)
      for (int k = 0; k < 4; k++) vec_store(x + j + k * lanes, vec_mul(vec_load(x + j + k * lanes), q));
    for (; j + lanes <= end; j += lanes) vec_store(x + j, vec_mul(vec_load(x + j), q));
    if (j < end) {
      const int rest = static_cast<int>(end - j);
      vec_store_part(x + j, vec_mul(vec_load_part(x + j, rest, 0.0f), q), rest);
    }
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
  Pass pass;
  float nll_at_one = 0.0f;
  const bool at_one = (a.nll_at_one || a.temperature == 1.0f) && w.observation != 0.0f;
  if (at_one && a.temperature != 1.0f) {
    const RowStatistics row = row_statistics<false>(pass, nullptr, x, a.vocab, target, exponent_scale(1.0f));
    nll_at_one = -row_distribution(row, 1.0f).logprob;
  }
  const RowStatistics row = row_statistics<true>(pass, x, x, a.vocab, target, exponent_scale(a.temperature));
  const RowDistribution d = row_distribution(row, a.temperature);
  if (at_one && a.temperature == 1.0f) nll_at_one = -d.logprob;
  const RowObjective o = row_objective(d.logprob, w, settings);
  out.weighted = true;
  out.logprob = d.logprob;
  out.nll_at_one = nll_at_one;
  out.empty = d.empty;
  out.nonfinite = !(d.logprob - d.logprob == 0.0f);
  if (!d.empty) {
    out.ratio = o.ratio;
    out.surrogate = o.surrogate;
    out.clipped_low = o.clipped_low;
    out.clipped_high = o.clipped_high;
  }

  const Wide g = o.coefficient * a.grad_scale / a.temperature;
  if (d.logprob != d.logprob) {
    fill(x, a.vocab, NAN);
  } else if (d.empty || g == 0) {
    memset(x, 0, sizeof(float) * static_cast<size_t>(a.vocab));
  } else {
    scale_exponentials(pass, x, static_cast<float>(g * d.rest_scale));
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
  Pass pass;
  for (int64_t i = begin; i < end; i++) {
    const int64_t target = a.targets[i];
    a.logprobs[i] = 0.0f;
    if (target < 0) continue;
    const float* x = a.logits + i * a.ld;
    const RowStatistics row = row_statistics<false>(pass, nullptr, x, a.vocab, target, exponent_scale(a.temperature));
    a.logprobs[i] = row_distribution(row, a.temperature).logprob;
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
