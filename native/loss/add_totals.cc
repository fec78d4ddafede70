#include "add_totals.h"

#include <algorithm>

namespace echo {

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

}  // namespace echo
