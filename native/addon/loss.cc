#include <cstdint>

#include "../loss/echo_loss.h"
#include "../loss/in_place_update.h"
#include "../loss/token_logprobs.h"
#include "checked.h"
#include "register.h"

namespace echo::addon {
namespace {

constexpr int64_t most = int64_t{1} << 40;

// lib/native/native-loss.ts holds the same order.
constexpr int64_t totals_length = 12;

void write_totals(const EchoLossTotals& t, double* out) {
  const double values[totals_length] = {
      t.policy_loss,
      t.observation_loss,
      static_cast<double>(t.action_tokens),
      static_cast<double>(t.observation_tokens),
      t.observation_nll_sum,
      t.observation_nll_at_one_sum,
      t.action_nll_sum,
      t.ratio_sum,
      t.ratio_max,
      static_cast<double>(t.clipped_low),
      static_cast<double>(t.clipped_high),
      static_cast<double>(t.nonfinite_rows),
  };
  for (int64_t i = 0; i < totals_length; i++) out[i] = values[i];
}

Napi::Value echo_loss_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  View<float> logits, action_weights, observation_weights, advantages, old_logprobs, logprobs;
  View<int32_t> targets;
  View<double> totals;
  int64_t vocab = 0, ld = 0;
  double temperature = 0, epsilon_low = 0, epsilon_high = 0, clamp = 0, grad_scale = 0;
  if (!take(info[3], "targets", -1, targets)) return env.Undefined();
  const int64_t rows = targets.length;
  if (!take_integer(info[1], "vocabSize", 1, INT32_MAX, vocab) || !take_integer(info[2], "ld", vocab, most, ld) ||
      !take(info[0], "logits", rows * ld, logits) || !take(info[4], "actionWeights", rows, action_weights) ||
      !take(info[5], "observationWeights", rows, observation_weights) || !take(info[6], "advantages", rows, advantages) ||
      !take_optional(info[7], "oldLogprobs", rows, old_logprobs) || !take_number(info[8], "temperature", temperature) ||
      !take_number(info[9], "epsilonLow", epsilon_low) || !take_number(info[10], "epsilonHigh", epsilon_high) ||
      !take_number(info[11], "logRatioClamp", clamp) || !take_number(info[12], "gradScale", grad_scale) ||
      !take_optional(info[14], "logprobsOut", rows, logprobs) || !take(info[15], "totalsOut", totals_length, totals))
    return env.Undefined();

  EchoLossTotals sums{};
  EchoLossArgs args{};
  args.logits = logits.data;
  args.rows = rows;
  args.vocab = vocab;
  args.ld = ld;
  args.targets = targets.data;
  args.action_weights = action_weights.data;
  args.observation_weights = observation_weights.data;
  args.advantages = advantages.data;
  args.old_logprobs = old_logprobs.data;
  args.temperature = static_cast<float>(temperature);
  args.epsilon_low = static_cast<float>(epsilon_low);
  args.epsilon_high = static_cast<float>(epsilon_high);
  args.log_ratio_clamp = static_cast<float>(clamp);
  args.grad_scale = static_cast<float>(grad_scale);
  args.nll_at_one = info[13].ToBoolean().Value();
  args.logprobs = logprobs.data;
  args.totals = &sums;
  if (check_status(env, "echoLoss", echo_loss(args))) write_totals(sums, totals.data);
  return env.Undefined();
}

Napi::Value token_logprobs_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  View<float> logits, logprobs;
  View<int32_t> targets;
  int64_t vocab = 0, ld = 0;
  double temperature = 0;
  if (!take(info[3], "targets", -1, targets)) return env.Undefined();
  const int64_t rows = targets.length;
  if (!take_integer(info[1], "vocabSize", 1, INT32_MAX, vocab) || !take_integer(info[2], "ld", vocab, most, ld) ||
      !take(info[0], "logits", rows * ld, logits) || !take_number(info[4], "temperature", temperature) ||
      !take(info[5], "logprobsOut", rows, logprobs))
    return env.Undefined();
  TokenLogprobsArgs args{};
  args.logits = logits.data;
  args.rows = rows;
  args.vocab = vocab;
  args.ld = ld;
  args.targets = targets.data;
  args.temperature = static_cast<float>(temperature);
  args.logprobs = logprobs.data;
  check_status(env, "tokenLogprobs", token_logprobs(args));
  return env.Undefined();
}

Napi::Value in_place_update_call(const Napi::CallbackInfo& info) {
  View<float> x;
  int64_t ld = 0;
  if (take(info[0], "x", -1, x) && take_integer(info[1], "ld", 1, most, ld)) in_place_update(x.data, x.length / ld, ld);
  return info.Env().Undefined();
}

}  // namespace

void register_loss(Napi::Env env, Napi::Object exports) {
  exports.Set("echoLoss", Napi::Function::New(env, echo_loss_call, "echoLoss"));
  exports.Set("tokenLogprobs", Napi::Function::New(env, token_logprobs_call, "tokenLogprobs"));
  exports.Set("benchInPlaceUpdate", Napi::Function::New(env, in_place_update_call, "benchInPlaceUpdate"));
}

}  // namespace echo::addon
