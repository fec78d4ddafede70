// The per-token mathematics of the objective (docs/objective.md), for every CPU tier and for CUDA: from the statistics of one row of logits to
// its log-probability, its share of the loss, and the factor of its gradient. The one place where these formulas live.
//
// Included inside a tier unit with ECHO_TIER defined (CUDA: ECHO_TIER=cuda). Everything is static and there is nothing of std::, so
// that the linker has no copy of one tier's code to offer to another.
//
// Notation: z = x / temperature; y the target; M = max z; lp = log softmax(z)[y].
//
// What happens to unusual rows:
//   x_y = -inf            lp = -inf; cross-entropy infinite, its gradient finite; ratio exp(-clamp), no policy gradient; counted
//   all logits -inf       gradient 0, no loss, lp -inf; counted (an empty set of allowed tokens must not poison a step)
//   a NaN or +inf logit   lp, loss and the whole gradient row NaN; counted
#pragma once

#include <math.h>
#include <stdint.h>

#ifndef ECHO_TIER
#error "objective.h belongs to tier units: compile with -DECHO_TIER=<tier>"
#endif

#if defined(__CUDACC__)
#define ECHO_HD __host__ __device__ __forceinline__ static
#else
#define ECHO_HD static inline __attribute__((always_inline))
#endif

namespace echo {
namespace ECHO_TIER {

// Row scalars are float64 on the host. Device code stays free of float64.
#if defined(__CUDA_ARCH__)
typedef float Wide;
ECHO_HD Wide wide_exp(Wide x) { return expf(x); }
ECHO_HD Wide wide_log(Wide x) { return logf(x); }
ECHO_HD Wide wide_log1p(Wide x) { return log1pf(x); }
#else
typedef double Wide;
ECHO_HD Wide wide_exp(Wide x) { return exp(x); }
ECHO_HD Wide wide_log(Wide x) { return log(x); }
ECHO_HD Wide wide_log1p(Wide x) { return log1p(x); }
#endif

// log2(e) / temperature: exponentials of the vocabulary loops are 2^((x - max) * scale).
ECHO_HD float exponent_scale(float temperature) { return 1.44269504088896340736f / temperature; }

// One pass over the logits without the target's: keeping it apart is what makes 1 - p exact for a confident target.
struct RowStatistics {
  float rest_max;      // max over j != y of x_j, not below -FLT_MAX; never NaN
  Wide rest_sum;       // sum over j != y of exp((x_j - rest_max) / temperature); NaN if any is
  float target_logit;  // x_y
};

struct RowDistribution {
  float max;          // max x: p_j = 2^((x_j - max) * scale) / sum
  Wide sum;
  Wide rest_scale;    // p_j = rest_scale * exp((x_j - rest_max) / temperature)
  Wide complement;    // 1 - p_y
  float logprob;
  bool empty;         // every logit is -inf
};

ECHO_HD RowDistribution row_distribution(const RowStatistics& row, float temperature) {
  RowDistribution d;
  const Wide t = temperature;
  if (row.target_logit >= row.rest_max) {
    const Wide shift = wide_exp(((Wide)row.rest_max - (Wide)row.target_logit) / t);
    const Wide rest = row.rest_sum * shift;
    d.max = row.target_logit;
    d.sum = 1 + rest;
    d.rest_scale = shift / d.sum;
    d.complement = rest / d.sum;
    // x_y - x_y is 0, but for x_y = +inf: then the row is NaN, as it should be.
    d.logprob = (float)(((Wide)row.target_logit - (Wide)row.target_logit) - wide_log1p(rest));
  } else {
    const Wide a = ((Wide)row.target_logit - (Wide)row.rest_max) / t;
    d.max = row.rest_max;
    d.sum = row.rest_sum + wide_exp(a);
    d.rest_scale = 1 / d.sum;
    d.complement = row.rest_sum / d.sum;
    d.logprob = (float)(a - wide_log(d.sum));
  }
  d.empty = d.sum == 0;
  if (d.empty) d.logprob = -INFINITY;
  if (d.logprob != d.logprob) {
    d.sum = NAN;
    d.rest_scale = NAN;
    d.complement = NAN;
  }
  return d;
}

struct RowWeights {
  float action;
  float observation;
  float advantage;
  float old_logprob;
  bool on_policy;  // old_logprob is not given and the ratio is 1
};

struct ObjectiveSettings {
  float lower;            // 1 - epsilon_low
  float upper;            // 1 + epsilon_high
  float log_ratio_clamp;  // +inf: off
};

struct RowObjective {
  Wide surrogate;      // min(r A, clip(r) A); 0 without an action weight
  Wide ratio;          // 0 without an action weight
  Wide coefficient;    // G = -d loss / d lp; d loss / d z_j = G (p_j - [j == y])
  bool clipped_low;    // the lower clip took the gradient
  bool clipped_high;
};

// PPO's clipped surrogate and a cross-entropy on one row. At r = 1 - epsilon_low and r = 1 + epsilon_high exactly the gradient flows, as in
// torch.clamp; outside the log-ratio clamp it is 0. Selected, never multiplied by a mask: 0 * inf is NaN.
ECHO_HD RowObjective row_objective(float logprob, const RowWeights& w, const ObjectiveSettings& s) {
  RowObjective o = {0, 0, 0, false, false};
  if (w.action != 0.0f) {
    Wide r = 1;
    bool clamped = false;
    if (!w.on_policy) {
      float delta = logprob - w.old_logprob;  // of two float32 values: exactly 0 when they are the same
      clamped = delta > s.log_ratio_clamp || delta < -s.log_ratio_clamp;
      if (clamped) delta = delta > 0 ? s.log_ratio_clamp : -s.log_ratio_clamp;
      r = wide_exp((Wide)delta);
    }
    o.ratio = r;
    if (w.advantage != 0.0f) {
      const Wide clipped = r < s.lower ? (Wide)s.lower : r > s.upper ? (Wide)s.upper : r;
      const Wide u = r * w.advantage;
      const Wide v = clipped * w.advantage;
      if (v < u) {
        o.surrogate = v;
        o.clipped_low = r < s.lower;
        o.clipped_high = r > s.upper;
      } else {
        o.surrogate = u;
        if (!clamped) o.coefficient = w.action * u;
      }
    }
  }
  if (w.observation != 0.0f) o.coefficient += w.observation;
  return o;
}

}  // namespace ECHO_TIER
}  // namespace echo
