// Tier header. The first pass over a row: the largest logit, the sum of exponentials, and if asked for what the entropy needs.
//
// Online softmax: exponentials are relative to the largest logit so far. An epoch is a run of logits with the same one; when a larger logit
// comes, the sums are rescaled and a new epoch begins, which soon is never. Should epochs run out (ascending logits), the next one takes
// the maximum of the whole row and is the last.
#pragma once

#include <float.h>

#include "logit_source.h"
#include "objective.h"

namespace echo {
namespace ECHO_TIER {
namespace {

constexpr int most_epochs = 48;
constexpr int64_t flush = 64;  // groups after which the four running sums join `total`: no float32 sum is long

struct Sums {
  Vec part[4];
  Vec total;
};

struct Pass {
  Vec scale;
  Vec max;
  Sums sum;       // of 2^a, a = (x - max) * scale
  Sums weighted;  // of a 2^a
  int epochs;
  int64_t first[most_epochs + 1];  // logit of each epoch
  float epoch_max[most_epochs];
};

// x - max before the product: exact where it matters, so that a common shift of all logits cancels, and free of overflow.
ECHO_INLINE Vec exponent(Vec x, Vec max, Vec scale) { return vec_mul(vec_sub(x, max), scale); }
ECHO_INLINE Vec exponential(Vec x, Vec max, Vec scale) { return vec_exp2(exponent(x, max, scale)); }

// a 2^a, 0 where 2^a vanishes: there a may be -inf.
ECHO_INLINE Vec weighted_term(Vec a, Vec e) { return vec_mul(vec_max(vec_set(-200.0f), a), e); }

template <typename Source>
float largest_of(const Source& x, int64_t begin, int64_t end, int64_t target, float least) {
  float max = least;
  for (int64_t j = begin; j < end; j++)
    if (j != target && x.at(j) > max) max = x.at(j);
  return max;
}

// `largest`: the largest logits of the vectors at j, per lane.
template <bool entropy, typename Source>
__attribute__((noinline)) void begin_epoch(Pass& p, Vec largest, int64_t j, const Source& x, int64_t vocab, int64_t target) {
  float max = vec_largest(vec_max(largest, p.max));
  if (p.epochs == most_epochs - 1) max = largest_of(x, j, vocab, target, max);
  const Vec shift = exponent(p.max, vec_set(max), p.scale);
  const Vec factor = vec_exp2(shift);
  if (entropy) {
    // (a + shift) 2^(a + shift), summed.
    const Vec by = vec_max(vec_set(-200.0f), shift);
    for (int k = 0; k < 4; k++)
      p.weighted.part[k] = vec_mul(vec_madd(by, p.sum.part[k], p.weighted.part[k]), factor);
    p.weighted.total = vec_mul(vec_madd(by, p.sum.total, p.weighted.total), factor);
  }
  for (Vec& sum : p.sum.part) sum = vec_mul(sum, factor);
  p.sum.total = vec_mul(p.sum.total, factor);
  p.max = vec_set(max);
  p.first[p.epochs] = j;
  p.epoch_max[p.epochs++] = max;
}

ECHO_INLINE void join_sums(Sums& s) {
  s.total = vec_add(s.total, vec_add(vec_add(s.part[0], s.part[1]), vec_add(s.part[2], s.part[3])));
  for (Vec& sum : s.part) sum = vec_set(0.0f);
}

ECHO_INLINE void clear_sums(Sums& s) {
  s.total = vec_set(0.0f);
  for (Vec& sum : s.part) sum = vec_set(0.0f);
}

// Whole vectors of [begin, end), without the target. With `write`, exponentials go to `out`.
template <bool write, bool entropy, typename Source>
ECHO_INLINE void add_range(Pass& p, float* out, const Source& x, int64_t begin, int64_t end, int64_t vocab, int64_t target) {
  int64_t j = begin;
  for (int64_t groups = (end - begin) / (4 * lanes); groups > 0;) {
    const int64_t steps = groups < flush ? groups : flush;
    groups -= steps;
    Vec max = p.max;
    Vec s0 = vec_set(0.0f), s1 = s0, s2 = s0, s3 = s0;
    Vec w0 = s0, w1 = s0, w2 = s0, w3 = s0;
    for (const int64_t stop = j + steps * 4 * lanes; j < stop; j += 4 * lanes) {
      const Vec a = x.load(j);
      const Vec b = x.load(j + lanes);
      const Vec c = x.load(j + 2 * lanes);
      const Vec d = x.load(j + 3 * lanes);
      // A NaN may hide a larger logit here; the sums are NaN then anyway.
      const Vec largest = vec_max(vec_max(a, b), vec_max(c, d));
      if (__builtin_expect(vec_any_greater(largest, max), 0)) {
        p.sum.part[0] = s0, p.sum.part[1] = s1, p.sum.part[2] = s2, p.sum.part[3] = s3;
        if (entropy) p.weighted.part[0] = w0, p.weighted.part[1] = w1, p.weighted.part[2] = w2, p.weighted.part[3] = w3;
        begin_epoch<entropy>(p, largest, j, x, vocab, target);
        s0 = p.sum.part[0], s1 = p.sum.part[1], s2 = p.sum.part[2], s3 = p.sum.part[3];
        if (entropy) w0 = p.weighted.part[0], w1 = p.weighted.part[1], w2 = p.weighted.part[2], w3 = p.weighted.part[3];
        max = p.max;
      }
      const Vec xa = exponent(a, max, p.scale), xb = exponent(b, max, p.scale);
      const Vec xc = exponent(c, max, p.scale), xd = exponent(d, max, p.scale);
      const Vec ea = vec_exp2(xa), eb = vec_exp2(xb), ec = vec_exp2(xc), ed = vec_exp2(xd);
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
      if (entropy) {
        w0 = vec_add(w0, weighted_term(xa, ea));
        w1 = vec_add(w1, weighted_term(xb, eb));
        w2 = vec_add(w2, weighted_term(xc, ec));
        w3 = vec_add(w3, weighted_term(xd, ed));
      }
    }
    p.sum.part[0] = s0, p.sum.part[1] = s1, p.sum.part[2] = s2, p.sum.part[3] = s3;
    join_sums(p.sum);
    if (entropy) {
      p.weighted.part[0] = w0, p.weighted.part[1] = w1, p.weighted.part[2] = w2, p.weighted.part[3] = w3;
      join_sums(p.weighted);
    }
  }
  for (; j < end; j += lanes) {
    const Vec v = x.load(j);
    if (vec_any_greater(v, p.max)) begin_epoch<entropy>(p, v, j, x, vocab, target);
    const Vec a = exponent(v, p.max, p.scale);
    const Vec e = vec_exp2(a);
    if (write) vec_store(out + j, e);
    p.sum.total = vec_add(p.sum.total, e);
    if (entropy) p.weighted.total = vec_add(p.weighted.total, weighted_term(a, e));
  }
}

// One vector of `count` logits, the others -inf; the target, if it is among them, too.
template <bool write, bool entropy, typename Source>
void add_odd(Pass& p, float* out, const Source& x, int64_t j, int count, int64_t vocab, int64_t target) {
  Vec v = x.load_part(j, count);
  if (target >= j && target < j + count) v = vec_replace(v, static_cast<int>(target - j), -INFINITY);
  if (vec_any_greater(v, p.max)) begin_epoch<entropy>(p, v, j, x, vocab, target);
  const Vec a = exponent(v, p.max, p.scale);
  const Vec e = vec_exp2(a);
  if (write) vec_store_part(out + j, e, count);
  p.sum.total = vec_add(p.sum.total, e);
  if (entropy) p.weighted.total = vec_add(p.weighted.total, weighted_term(a, e));
}

ECHO_INLINE Wide sum_of_lanes(Vec v) {
  float lane[lanes];
  vec_store(lane, v);
  Wide sum = 0;
  for (int i = 0; i < lanes; i++) sum += lane[i];
  return sum;
}

// The row without its target; target -1: all of it. With `write`, x is the memory at `out` and exponentials take the place of the
// logits, 0 that of the target's; else `out` is not used. The order of the sums is a function of (vocab, target) alone.
template <bool write, bool entropy, typename Source>
RowStatistics row_statistics(Pass& p, float* out, const Source& x, int64_t vocab, int64_t target, float scale) {
  p.scale = vec_set(scale);
  p.max = vec_set(-FLT_MAX);
  clear_sums(p.sum);
  clear_sums(p.weighted);
  p.epochs = 1;
  p.first[0] = 0;
  p.epoch_max[0] = -FLT_MAX;
  RowStatistics row;
  row.target_logit = target < 0 ? -INFINITY : x.at(target);
  const int64_t whole = vocab / lanes * lanes;
  const int64_t hole = target < 0 || target >= whole ? whole : target / lanes * lanes;
  add_range<write, entropy>(p, out, x, 0, hole, vocab, target);
  if (hole < whole) {
    add_odd<write, entropy>(p, out, x, hole, lanes, vocab, target);
    add_range<write, entropy>(p, out, x, hole + lanes, whole, vocab, target);
  }
  if (whole < vocab) add_odd<write, entropy>(p, out, x, whole, static_cast<int>(vocab - whole), vocab, target);
  p.first[p.epochs] = vocab;
  row.rest_max = p.epoch_max[p.epochs - 1];
  row.rest_sum = sum_of_lanes(p.sum.total);
  row.rest_weighted = entropy ? sum_of_lanes(p.weighted.total) : 0;
  return row;
}

}  // namespace
}  // namespace ECHO_TIER
}  // namespace echo
