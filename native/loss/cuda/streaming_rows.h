// Rows that are read as they come: for the statistics of shards, which need one read, for shards whose statistics are known, and for the loss of
// rows that fit no registers, which are read twice.
#pragma once

#include "elements.h"
#include "loss_rows.h"

namespace echo {
namespace cuda {

// Shared by the warps of a block; of no use to rows of fewer lanes.
struct BlockExchange {
  Partial partials[32];
  float target_logit;
};

// This thread's part of a row without its target; `kept`: the row is read again soon.
template <typename In, bool full, bool kept>
ECHO_DEVICE Partial stream_partial(const typename In::Stored* x, const RowSpan& span, int target, const Scales& scales, float cap,
                                   int rank, int size) {
  Partial p = empty_partial();
  const int last = span.head + span.vectors * In::count;
  const int target_vector = target < span.head || target >= last ? -1 : (target - span.head) / In::count;
  const int target_lane = (target - span.head) % In::count;
  ECHO_UNROLL_4
  for (int v = rank; v < span.vectors; v += size) {
    const typename In::Stored* at = x + span.head + static_cast<int64_t>(v) * In::count;
    uint4 packed = kept ? load_keeping(at) : load_streaming(at);
    if (v == target_vector) remove<In>(packed, target_lane);
    float values[In::count];
    In::unpack(packed, values);
    cap_all<full, In::count>(values, cap);
    float largest = values[0];
    ECHO_UNROLL
    for (int e = 1; e < In::count; e++) largest = fmaxf(largest, values[e]);
    raise<full>(p, largest, scales);
    add<full, In::count>(p, values, scales);
  }
  float edges[2] = {-INFINITY, -INFINITY};
  if (rank < span.head && rank != target) edges[0] = In::load(x + rank);
  if (rank < span.tail && last + rank != target) edges[1] = In::load(x + last + rank);
  cap_all<full, 2>(edges, cap);
  raise<full>(p, fmaxf(edges[0], edges[1]), scales);
  add<full, 2>(p, edges, scales);
  return p;
}

// The whole row from its parts: the same bits in every thread that belongs to it. lanes 0: a block.
template <bool full, int lanes>
ECHO_DEVICE Partial gather(Partial p, const Scales& scales, BlockExchange* shared) {
  if constexpr (lanes > 0) {
    return merge_lanes<full>(p, scales, lanes);
  } else {
    p = merge_lanes<full>(p, scales, 32);
    const unsigned lane = threadIdx.x % 32;
    if (lane == 0) shared->partials[threadIdx.x / 32] = p;
    ECHO_BARRIER(4);  // and from here on nobody reads what another thread's gradient overwrites
    return merge_lanes<full>(lane < blockDim.x / 32 ? shared->partials[lane] : empty_partial(), scales, 32);
  }
}

// The statistics of a shard. Targets of other shards are nowhere in the row.
template <typename In, int lanes, bool full>
ECHO_GLOBAL(512, 2) statistics_rows(StatisticsRows a, int64_t first_row) {
  ECHO_SHARED(BlockExchange, shared, 1);
  constexpr bool block = lanes == 0;
  const int size = block ? static_cast<int>(blockDim.x) : lanes;
  const int rank = static_cast<int>(threadIdx.x) % size;
  const int64_t i = first_row + (block ? static_cast<int64_t>(blockIdx.x) : static_cast<int64_t>(blockIdx.x) * (blockDim.x / size) + static_cast<int>(threadIdx.x) / size);
  if (i >= a.rows) return;
  const bool skipped = a.targets[i] < 0;
  RowStatistics row = {-FLT_MAX, 0.0f, -INFINITY, 0.0f};
  if (!skipped) {
    const typename In::Stored* x = static_cast<const typename In::Stored*>(a.logits) + i * a.ld;
    const RowSpan span = span_of<In>(x, static_cast<int>(a.vocab));
    const Scales scales = {a.scale, exponent_scale(1.0f)};
    const int64_t place = a.targets[i] - a.begin;
    const bool here = place >= 0 && place < a.vocab;
    const int target = here ? static_cast<int>(place) : -1;
    const Partial mine = stream_partial<In, full, false>(x, span, target, scales, a.logit_softcap, rank, size);
    const Partial all = gather<full, lanes>(mine, scales, shared);
    row = {all.max, all.sum, here ? In::load(x + target) : -INFINITY, all.weighted};
    if (full && a.logit_softcap > 0.0f) row.target_logit = softcap(row.target_logit, a.logit_softcap);
  }
  if (rank != 0) return;
  a.max[i] = row.rest_max;
  a.sum[i] = row.rest_sum;
  a.target_logits[i] = row.target_logit;
  if (full && a.weighted != nullptr) a.weighted[i] = row.rest_weighted;
}

// The gradient of a row whose statistics are known. Where it is narrower than the logits, the block goes through the row in tiles: it loads
// one, waits for all its threads, and only then stores, in the memory of this tile and of those before it.
template <typename In, typename Out, bool full>
ECHO_DEVICE void stream_gradient(const LossRows& a, typename In::Stored* x, const RowSpan& span, int target, float max, float target_logit,
                                 float scale, const GradientFactors& f) {
  typename Out::Stored* out = reinterpret_cast<typename Out::Stored*>(x);
  constexpr bool narrower = sizeof(typename Out::Stored) < sizeof(typename In::Stored);
  const int rank = static_cast<int>(threadIdx.x), size = static_cast<int>(blockDim.x);
  if (f.zero) {
    fill_zero<Out>(out, a.ld, rank, size);
    return;
  }
  const int last = span.head + span.vectors * In::count;
  float edges[2] = {rank < span.head ? In::load(x + rank) : -INFINITY, rank < span.tail ? In::load(x + last + rank) : -INFINITY};
  cap_all<full, 2>(edges, a.logit_softcap);
  const int tiles = (span.vectors + size - 1) / size;
  for (int tile = 0; tile < tiles; tile++) {
    const int v = tile * size + rank;
    float g[In::count];
    if (v < span.vectors) In::unpack(load_streaming(x + span.head + static_cast<int64_t>(v) * In::count), g);
    if (narrower) ECHO_BARRIER(5);
    if (v >= span.vectors) continue;
    cap_all<full, In::count>(g, a.logit_softcap);
    ECHO_UNROLL
    for (int e = 0; e < In::count; e++) g[e] = slope<full>(g[e], max, a, scale, f);
    store_vector<In, Out>(out + span.head + static_cast<int64_t>(v) * In::count, g);
  }
  // The edges are stored last, and the target's element after whatever was written in its place by another thread.
  if (narrower && tiles == 0) ECHO_BARRIER(6);
  if (rank < span.head) Out::store(out + rank, slope<full>(edges[0], max, a, scale, f));
  if (rank < span.tail) Out::store(out + last + rank, slope<full>(edges[1], max, a, scale, f));
  ECHO_BARRIER(7);
  if (rank == 0 && target >= 0) Out::store(out + target, target_slope<full>(target_logit, a, f));
  if (a.ld > a.vocab) fill_zero<Out>(out + a.vocab, a.ld - a.vocab, rank, size);
}

// The loss of rows of any length, a block for each: two reads and one write, or one of each where the statistics are given.
template <typename In, typename Out, bool full>
ECHO_GLOBAL(512, 2) streaming_loss_rows(LossRows a, int64_t first_row) {
  ECHO_SHARED(BlockExchange, shared, 1);
  const int64_t i = first_row + blockIdx.x;
  typename In::Stored* x = static_cast<typename In::Stored*>(a.logits) + i * a.ld;
  typename Out::Stored* out = reinterpret_cast<typename Out::Stored*>(x);
  const bool weighted = is_weighted(a, i);
  const bool shards = a.shard_max != nullptr;
  const int64_t place = a.targets[i] - (shards ? a.shard_begin : 0);
  const bool here = place >= 0 && place < a.vocab;
  const int target = here ? static_cast<int>(place) : -1;
  if (!weighted || (!here && !shards)) {
    clear_row<Out>(a, i, out, weighted, static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x));
    return;
  }
  const RowSpan span = span_of<In>(x, static_cast<int>(a.vocab));
  const Scales scales = {a.scale, exponent_scale(1.0f)};
  RowStatistics row;
  float sum_at_one = 0.0f;
  if (shards) {
    row = {a.shard_max[i], a.shard_sum[i], a.shard_targets[i], a.shard_weighted != nullptr ? a.shard_weighted[i] : 0.0f};
  } else {
    if (threadIdx.x == 0) shared->target_logit = In::load(x + target);
    const Partial mine = stream_partial<In, full, true>(x, span, target, scales, a.logit_softcap, static_cast<int>(threadIdx.x),
                                                          static_cast<int>(blockDim.x));
    const Partial all = gather<full, 0>(mine, scales, shared);
    row = {all.max, all.sum, shared->target_logit, all.weighted};
    sum_at_one = all.at_one;
    if (full && a.logit_softcap > 0.0f) row.target_logit = softcap(row.target_logit, a.logit_softcap);
  }
  const GradientFactors f = finish_row<full>(a, i, row, sum_at_one, threadIdx.x == 0);
  if (a.read_only) return;
  stream_gradient<In, Out, full>(a, x, span, target, row.rest_max, row.target_logit, scales.at_temperature, f);
}

}  // namespace cuda
}  // namespace echo
