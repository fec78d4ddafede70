#include "weighted_rows.h"

namespace echo {
namespace {

using Vector = const float* EchoLossArgs::*;
constexpr Vector vectors[] = {&EchoLossArgs::action_weights, &EchoLossArgs::observation_weights, &EchoLossArgs::advantages,
                              &EchoLossArgs::old_logprobs,   &EchoLossArgs::log_ratios,          &EchoLossArgs::rollout_weights,
                              &EchoLossArgs::reference_logprobs};
constexpr int vector_count = sizeof(vectors) / sizeof(vectors[0]);

}  // namespace

bool WeightedRows::take(const EchoLossArgs& loss, int64_t first, int64_t rows) {
  count_ = 0;
  stride_ = rows;
  if (!places_.reserve(rows) || !targets_.reserve(rows) || !vectors_.reserve(vector_count * rows)) return false;
  for (int64_t i = 0; i < rows; i++) {
    const int64_t row = first + i;
    if (loss.action_weights[row] == 0.0f && loss.observation_weights[row] == 0.0f) continue;
    places_[count_] = static_cast<int32_t>(i);
    targets_[count_] = loss.targets[row];
    for (int v = 0; v < vector_count; v++)
      if (loss.*vectors[v] != nullptr) vectors_[v * stride_ + count_] = (loss.*vectors[v])[row];
    count_++;
  }
  return true;
}

EchoLossArgs WeightedRows::chunk(const EchoLossArgs& loss, int64_t begin, int64_t rows) const {
  EchoLossArgs args = loss;
  args.logits = nullptr;
  args.rows = rows;
  args.targets = targets_.data() + begin;
  for (int v = 0; v < vector_count; v++)
    if (loss.*vectors[v] != nullptr) args.*vectors[v] = vectors_.data() + v * stride_ + begin;
  args.logprobs = args.nll_at_one_rows = args.entropies = nullptr;
  args.totals = nullptr;
  return args;
}

}  // namespace echo
