// The head: final norm, logits and loss of the rows that carry a weight, in chunks through one logits buffer.
#include <algorithm>
#include <cstring>

#include "decoder.h"
#include "gemm.h"
#include "row_blocks.h"

namespace echo {
namespace {

// Logits in flight: 16 MiB, unless the vocabulary is so large that this would be few rows.
constexpr int64_t logits_floats = 4 << 20;
constexpr int64_t fewest_chunk_rows = 128;
constexpr int64_t most_chunk_rows = 1024;
constexpr int row_vectors = 7;

void add_totals(const EchoLossTotals& part, EchoLossTotals* sum) {
  sum->policy_loss += part.policy_loss;
  sum->observation_loss += part.observation_loss;
  sum->kl_loss += part.kl_loss;
  sum->entropy_loss += part.entropy_loss;
  sum->surrogate_sum += part.surrogate_sum;
  sum->kl_sum += part.kl_sum;
  sum->entropy_sum += part.entropy_sum;
  sum->observation_nll_sum += part.observation_nll_sum;
  sum->observation_nll_at_one_sum += part.observation_nll_at_one_sum;
  sum->action_nll_sum += part.action_nll_sum;
  sum->ratio_sum += part.ratio_sum;
  sum->ratio_max = std::max(sum->ratio_max, part.ratio_max);
  sum->action_tokens += part.action_tokens;
  sum->observation_tokens += part.observation_tokens;
  sum->clipped_low += part.clipped_low;
  sum->clipped_high += part.clipped_high;
  sum->clipped_dual += part.clipped_dual;
  sum->nonfinite_rows += part.nonfinite_rows;
}

}  // namespace

int64_t Decoder::head_chunk_rows() const {
  return std::clamp(logits_floats / config_.vocab, fewest_chunk_rows, most_chunk_rows);
}

bool Decoder::reserve_head(int64_t rows, int64_t chunk) {
  const int64_t d = config_.hidden;
  return head_rows_.reserve(rows) && head_targets_.reserve(rows) && head_vectors_.reserve(row_vectors * rows) && final_x_.reserve(rows * d) &&
         hidden_.reserve(rows * d) && d_hidden_.reserve(rows * d) && final_rstd_.reserve(rows) &&
         logits_.reserve(chunk * config_.vocab);
}

void Decoder::norm_head_rows(const int32_t* rows, int64_t count) {
  const int64_t d = config_.hidden;
  parallel_rows(count, [&](int64_t begin, int64_t n, int) {
    float* x = final_x_.data() + begin * d;
    for (int64_t i = 0; i < n; i++)
      std::memcpy(x + i * d, final_ + rows[begin + i] * d, static_cast<size_t>(d) * sizeof(float));
    kernels_->rmsnorm_forward(n, d, x, value(layout_.final_norm), config_.rms_norm_eps, hidden_.data() + begin * d,
                              final_rstd_.data() + begin);
  });
}

Status Decoder::head_loss(const Group& group, const EchoLossArgs& loss, EchoLossTotals* totals) {
  const int64_t d = config_.hidden, vocab = config_.vocab, chunk = head_chunk_rows();
  if (!reserve_head(group.rows, chunk)) return Status::out_of_memory;
  // The row vectors of the rows that carry a weight, one after the other.
  const float* EchoLossArgs::*const vectors[row_vectors] = {
      &EchoLossArgs::action_weights, &EchoLossArgs::observation_weights, &EchoLossArgs::advantages,        &EchoLossArgs::old_logprobs,
      &EchoLossArgs::log_ratios,     &EchoLossArgs::rollout_weights,     &EchoLossArgs::reference_logprobs};
  int64_t count = 0;
  for (int64_t i = 0; i < group.rows; i++) {
    const int64_t row = group.first_row + i;
    if (loss.action_weights[row] == 0.0f && loss.observation_weights[row] == 0.0f) continue;
    head_rows_[count] = static_cast<int32_t>(i);
    head_targets_[count] = loss.targets[row];
    for (int v = 0; v < row_vectors; v++)
      if (loss.*vectors[v] != nullptr) head_vectors_[v * group.rows + count] = (loss.*vectors[v])[row];
    count++;
  }
  norm_head_rows(head_rows_.data(), count);
  for (int64_t begin = 0; begin < count; begin += chunk) {
    const int64_t rows = std::min(chunk, count - begin);
    const float* hidden = hidden_.data() + begin * d;
    gemm({rows, vocab, d, hidden, d, false, head_.data(), 0, true, logits_.data(), vocab, false});
    EchoLossTotals part;
    EchoLossArgs args = loss;
    args.logits = logits_.data();
    args.logits_type = args.gradient_type = Dtype::float32;
    args.rows = rows;
    args.vocab = args.ld = vocab;
    args.targets = head_targets_.data() + begin;
    for (int v = 0; v < row_vectors; v++)
      if (loss.*vectors[v] != nullptr) args.*vectors[v] = head_vectors_.data() + v * group.rows + begin;
    args.logprobs = args.nll_at_one_rows = args.entropies = nullptr;
    args.totals = &part;
    const Status status = echo_loss(args);
    if (status != Status::ok) return status;
    add_totals(part, totals);
    const GemmArgs products[] = {
        {rows, d, vocab, logits_.data(), vocab, false, value(layout_.head), d, false, d_hidden_.data() + begin * d, d, false},
        {vocab, d, rows, logits_.data(), vocab, true, hidden, d, false, gradient(layout_.head), d, true},
    };
    gemm_all(products, 2);
  }
  // Back through the final norm into the rows the head took; the others start from 0.
  if (!block_sums_.reserve((group.rows / row_block + 1) * d)) return Status::out_of_memory;
  std::memset(d_next_, 0, static_cast<size_t>(group.rows * d) * sizeof(float));
  parallel_rows(count, [&](int64_t begin, int64_t n, int) {
    float* sums = block_sums_.data() + begin / row_block * d;
    float* gradient = d_hidden_.data() + begin * d;
    std::memset(sums, 0, static_cast<size_t>(d) * sizeof(float));
    kernels_->rmsnorm_backward(n, d, final_x_.data() + begin * d, final_rstd_.data() + begin, value(layout_.final_norm), gradient, nullptr,
                               gradient, nullptr, sums);
    for (int64_t i = 0; i < n; i++)
      std::memcpy(d_next_ + head_rows_[begin + i] * d, gradient + i * d, static_cast<size_t>(d) * sizeof(float));
  });
  add_block_sums((count + row_block - 1) / row_block, d, 0, d, gradient(layout_.final_norm));
  return Status::ok;
}

}  // namespace echo
