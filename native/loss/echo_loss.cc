#include "echo_loss.h"

#include <cmath>
#include <cstring>
#include <new>

#include "../core/isa.h"
#include "../core/thread_pool.h"
#include "in_place_update.h"
#include "row_kernels.h"
#include "token_logprobs.h"

namespace echo {
namespace {

const RowKernels& kernels() {
#if defined(__x86_64__)
  if (active_isa() == Isa::avx512) return avx512::row_kernels;
  if (active_isa() == Isa::avx2) return avx2::row_kernels;
#endif
  return scalar::row_kernels;
}

// Rows per chunk: about 64 KiB of logits, so that small vocabularies do not pay for a counter per row.
int64_t row_grain(int64_t ld) { return ld >= 16384 ? 1 : 16384 / ld; }

bool bad_block(int64_t rows, int64_t vocab, int64_t ld, float temperature) {
  return rows < 0 || vocab < 1 || ld < vocab || !(temperature > 0) || std::isinf(temperature);
}

struct EchoJob {
  const EchoLossArgs* args;
  const RowKernels* kernels;
  EchoRow* rows;
};

void run_echo(void* context, int64_t begin, int64_t end, int) {
  const EchoJob& job = *static_cast<EchoJob*>(context);
  job.kernels->echo_rows(*job.args, begin, end, job.rows);
}

// In row order, in float64: the same on any number of threads.
EchoLossTotals sum_rows(const EchoLossArgs& args, const EchoRow* rows) {
  EchoLossTotals t{};
  for (int64_t i = 0; i < args.rows; i++) {
    const EchoRow& r = rows[i];
    if (!r.weighted) continue;
    const double action = args.action_weights[i];
    const double observation = args.observation_weights[i];
    if (r.nonfinite) t.nonfinite_rows++;
    if (action != 0) {
      t.action_tokens++;
      if (r.clipped_low) t.clipped_low++;
      if (r.clipped_high) t.clipped_high++;
      if (!r.empty) {
        t.policy_loss -= action * r.surrogate;
        t.action_nll_sum -= r.logprob;
        t.ratio_sum += r.ratio;
        if (r.ratio > t.ratio_max) t.ratio_max = r.ratio;
      }
    }
    if (observation != 0) {
      t.observation_tokens++;
      if (!r.empty) {
        t.observation_loss -= observation * r.logprob;
        t.observation_nll_sum -= r.logprob;
        t.observation_nll_at_one_sum += r.nll_at_one;
      }
    }
  }
  return t;
}

}  // namespace

Status echo_loss(const EchoLossArgs& args) {
  if (bad_block(args.rows, args.vocab, args.ld, args.temperature)) return Status::invalid_argument;
  if (args.totals == nullptr) return Status::invalid_argument;
  if (args.rows == 0) {
    *args.totals = {};
    return Status::ok;
  }
  if (args.logits == nullptr || args.targets == nullptr || args.action_weights == nullptr ||
      args.observation_weights == nullptr || args.advantages == nullptr)
    return Status::invalid_argument;
  for (int64_t i = 0; i < args.rows; i++)
    if ((args.action_weights[i] != 0 || args.observation_weights[i] != 0) &&
        (args.targets[i] < 0 || args.targets[i] >= args.vocab))
      return Status::target_out_of_range;

  EchoRow* rows = new (std::nothrow) EchoRow[static_cast<size_t>(args.rows)];
  if (rows == nullptr) return Status::out_of_memory;
  EchoJob job{&args, &kernels(), rows};
  parallel_for(args.rows, row_grain(args.ld), run_echo, &job);
  *args.totals = sum_rows(args, rows);
  if (args.logprobs != nullptr)
    for (int64_t i = 0; i < args.rows; i++) args.logprobs[i] = rows[i].logprob;
  if (args.nll_at_one_rows != nullptr)
    for (int64_t i = 0; i < args.rows; i++) args.nll_at_one_rows[i] = rows[i].nll_at_one;
  delete[] rows;
  return Status::ok;
}

namespace {

struct LogprobJob {
  const TokenLogprobsArgs* args;
  const RowKernels* kernels;
};

void run_logprobs(void* context, int64_t begin, int64_t end, int) {
  const LogprobJob& job = *static_cast<LogprobJob*>(context);
  job.kernels->logprob_rows(*job.args, begin, end);
}

struct UpdateJob {
  float* x;
  int64_t ld;
  const RowKernels* kernels;
};

void run_update(void* context, int64_t begin, int64_t end, int) {
  const UpdateJob& job = *static_cast<UpdateJob*>(context);
  for (int64_t i = begin; i < end; i++) job.kernels->update_row(job.x + i * job.ld, job.ld);
}

}  // namespace

Status token_logprobs(const TokenLogprobsArgs& args) {
  if (bad_block(args.rows, args.vocab, args.ld, args.temperature)) return Status::invalid_argument;
  if (args.rows == 0) return Status::ok;
  if (args.logits == nullptr || args.targets == nullptr || args.logprobs == nullptr) return Status::invalid_argument;
  for (int64_t i = 0; i < args.rows; i++)
    if (args.targets[i] >= args.vocab) return Status::target_out_of_range;
  LogprobJob job{&args, &kernels()};
  parallel_for(args.rows, row_grain(args.ld), run_logprobs, &job);
  return Status::ok;
}

void in_place_update(float* x, int64_t rows, int64_t ld) {
  UpdateJob job{x, ld, &kernels()};
  parallel_for(rows, row_grain(ld), run_update, &job);
}

}  // namespace echo
