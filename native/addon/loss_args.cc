#include "loss_args.h"

#include <cmath>
#include <initializer_list>
#include <limits>
#include <string>

#include "checked.h"

namespace echo::addon {
namespace {

bool take_finite(Napi::Object options, const char* name, float& out) {
  double number = 0;
  if (!take_number(options.Get(name), name, number)) return false;
  out = static_cast<float>(number);
  if (std::isfinite(out)) return true;
  return throw_error(options.Env(), "ERR_OUT_OF_RANGE", std::string("[native] ") + name + ": expected a finite number.");
}

// false stands for `off`.
bool take_finite_or_false(Napi::Object options, const char* name, float off, float& out) {
  const Napi::Value value = options.Get(name);
  out = off;
  return (value.IsBoolean() && !value.ToBoolean().Value()) || take_finite(options, name, out);
}

bool take_choice(Napi::Object options, const char* name, std::initializer_list<const char*> choices, int32_t& out) {
  const Napi::Value value = options.Get(name);
  const std::string got = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  out = 0;
  for (const char* choice : choices) {
    if (got == choice) return true;
    out++;
  }
  return throw_error(options.Env(), "ERR_INVALID_TYPE", std::string("[native] ") + name + ": not one of its choices.");
}

// An empty vector may have no memory, and is there all the same.
bool take_row_vector(Napi::Object vectors, const char* name, int64_t rows, const float*& out) {
  static const float nothing = 0;
  const Napi::Value value = vectors.Get(name);
  View<float> view;
  if (!take_optional(value, name, rows, view)) return false;
  const bool given = !value.IsNull() && !value.IsUndefined();
  out = given && view.data == nullptr ? &nothing : view.data;
  return true;
}

struct Named {
  const char* name;
  const float* values;
};

bool check_row(Napi::Env env, const EchoLossArgs& args, int64_t i, int64_t vocab) {
  const bool acts = args.action_weights[i] != 0.0f;
  if (!acts && args.observation_weights[i] == 0.0f) return true;
  const auto at = [i](const char* name) { return std::string("[native] ") + name + "[" + std::to_string(i) + "]: "; };
  for (const Named& each : {Named{"actionWeights", args.action_weights}, Named{"observationWeights", args.observation_weights}})
    if (!std::isfinite(each.values[i])) return throw_error(env, "ERR_NON_FINITE", at(each.name) + "expected a finite number.");
  // Not the log-ratios of sequences: they follow from the logits, and what is not finite there is told of by the result.
  if (acts)
    for (const Named& each : {Named{"advantages", args.advantages}, Named{"oldLogprobs", args.old_logprobs},
                              Named{"rolloutWeights", args.rollout_weights}, Named{"referenceLogprobs", args.reference_logprobs}})
      if (each.values != nullptr && !std::isfinite(each.values[i]))
        return throw_error(env, "ERR_NON_FINITE", at(each.name) + "expected a finite number on a weighted row.");
  if (args.targets[i] >= 0 && args.targets[i] < vocab) return true;
  return throw_error(env, "ERR_OUT_OF_RANGE",
                     at("targets") + "expected a token from 0 to " + std::to_string(vocab - 1) + " on a weighted row, got " +
                         std::to_string(args.targets[i]) + ".");
}

}  // namespace

bool take_block(Napi::Value value, int64_t rows, LogitsBlock& out) {
  Napi::Object object;
  if (!take_object(value, "block", object) || !take_dtype(object.Get("dtype"), "dtype", out.type) ||
      !take_integer(object.Get("vocab"), "vocabSize", 1, INT32_MAX, out.vocab) ||
      !take_integer(object.Get("ld"), "ld", out.vocab, int64_t{1} << 40, out.ld))
    return false;
  const Napi::Value gradient = object.Get("gradientDtype");
  out.gradient_type = out.type;
  if (!gradient.IsUndefined() && !take_dtype(gradient, "gradientDtype", out.gradient_type)) return false;
  out.bytes = rows * out.ld * dtype_size(out.type);
  if (object.Get("upload").ToBoolean().Value() && !out.place.upload(value.Env())) return false;
  return out.place.take(object.Get("logits"), "logits", out.type, rows * out.ld, out.logits);
}

// { max, sum, targetLogits, weighted | null } of `rows` rows.
bool take_statistics(Napi::Object object, int64_t rows, VocabStatistics& out) {
  View<float> max, targets;
  View<double> sum, weighted;
  if (!take(object.Get("max"), "max", rows, max) || !take(object.Get("sum"), "sum", rows, sum) ||
      !take(object.Get("targetLogits"), "targetLogits", rows, targets) ||
      !take_optional(object.Get("weighted"), "weighted", rows, weighted))
    return false;
  out = {max.data, sum.data, targets.data, weighted.data};
  return true;
}

namespace {

// Undefined: the block is of the whole vocabulary.
bool take_shard(Napi::Value value, int64_t rows, int64_t vocab, VocabShard& shard, const VocabShard*& out) {
  if (value.IsUndefined()) return true;
  Napi::Object object, statistics;
  out = &shard;
  return take_object(value, "shard", object) && take_integer(object.Get("begin"), "vocabStart", 0, INT32_MAX, shard.begin) &&
         take_integer(object.Get("total"), "totalVocabSize", shard.begin + vocab, INT32_MAX, shard.total) &&
         take_object(object.Get("statistics"), "statistics", statistics) && take_statistics(statistics, rows, shard.all);
}

}  // namespace

bool take_echo_loss(const Napi::CallbackInfo& info, EchoLossArgs& args, LogitsBlock& block, VocabShard* shard) {
  Napi::Object block_object, vectors, options;
  View<int32_t> targets;
  if (!take_object(info[0], "block", block_object) || !take_object(info[1], "rows", vectors) ||
      !take_object(info[2], "options", options) || !take(vectors.Get("targets"), "targets", -1, targets) ||
      !take_block(info[0], targets.length, block) ||
      (shard != nullptr && !take_shard(block_object.Get("shard"), targets.length, block.vocab, *shard, args.shard)) ||
      !take_loss_rows(vectors, targets.length, args.shard != nullptr ? shard->total : block.vocab, args) ||
      !take_loss_options(options, args))
    return false;
  set_block(block, args);
  args.gradient_type = block.gradient_type;
  args.rows = targets.length;
  return true;
}

bool take_loss_rows(Napi::Object vectors, int64_t rows, int64_t vocab, EchoLossArgs& args) {
  View<int32_t> targets;
  View<float> action_weights, observation_weights, advantages;
  if (!take(vectors.Get("targets"), "targets", rows, targets) ||
      !take(vectors.Get("actionWeights"), "actionWeights", rows, action_weights) ||
      !take(vectors.Get("observationWeights"), "observationWeights", rows, observation_weights) ||
      !take(vectors.Get("advantages"), "advantages", rows, advantages) ||
      !take_row_vector(vectors, "oldLogprobs", rows, args.old_logprobs) ||
      !take_row_vector(vectors, "logRatios", rows, args.log_ratios) ||
      !take_row_vector(vectors, "rolloutWeights", rows, args.rollout_weights) ||
      !take_row_vector(vectors, "referenceLogprobs", rows, args.reference_logprobs))
    return false;
  const Napi::Env env = vectors.Env();
  if (vectors.Get("onPolicy").ToBoolean().Value()) {
    args.old_logprobs = nullptr;
  } else if (args.old_logprobs == nullptr && args.log_ratios == nullptr) {
    return throw_error(env, "ERR_INVALID_TYPE", "[native] oldLogprobs: expected a Float32Array unless onPolicy is true, got none.");
  }
  args.targets = targets.data;
  args.action_weights = action_weights.data;
  args.observation_weights = observation_weights.data;
  args.advantages = advantages.data;
  for (int64_t i = 0; i < rows; i++)
    if (!check_row(env, args, i, vocab)) return false;
  return true;
}

bool take_loss_options(Napi::Object options, EchoLossArgs& args) {
  constexpr float off = std::numeric_limits<float>::infinity();
  int32_t surrogate = 0;
  if (!take_finite(options, "temperature", args.temperature) || !take_finite(options, "epsilonLow", args.epsilon_low) ||
      !take_finite(options, "epsilonHigh", args.epsilon_high) || !take_finite(options, "gradScale", args.grad_scale) ||
      !take_finite(options, "klCoefficient", args.kl_coefficient) ||
      !take_finite(options, "entropyCoefficient", args.entropy_coefficient) ||
      !take_finite_or_false(options, "logRatioClamp", off, args.log_ratio_clamp) ||
      !take_finite_or_false(options, "dualClip", off, args.dual_clip) ||
      !take_finite_or_false(options, "logitSoftcap", 0.0f, args.logit_softcap) ||
      !take_choice(options, "surrogate", {"clip", "cispo"}, surrogate) ||
      !take_choice(options, "klEstimator", {"", "k1", "k2", "k3"}, args.kl_estimator))
    return false;
  args.surrogate = static_cast<Surrogate>(surrogate);
  args.entropy = options.Get("entropy").ToBoolean().Value();
  args.nll_at_one = options.Get("nllAtOne").ToBoolean().Value();
  if (args.temperature > 0 && std::isfinite(1.0f / args.temperature)) return true;
  return throw_error(options.Env(), "ERR_OUT_OF_RANGE", "[native] temperature: expected a number above 0.");
}

Napi::Object totals_object(Napi::Env env, const EchoLossTotals& totals, const EchoLossArgs& args) {
  Napi::Object out = Napi::Object::New(env);
  const auto set = [&](const char* name, double value) { out.Set(name, Napi::Number::New(env, value)); };
  set("policyLoss", totals.policy_loss);
  set("observationLoss", totals.observation_loss);
  set("klLoss", totals.kl_loss);
  set("entropyLoss", totals.entropy_loss);
  set("actionTokens", static_cast<double>(totals.action_tokens));
  set("observationTokens", static_cast<double>(totals.observation_tokens));
  set("observationNllSum", totals.observation_nll_sum);
  if (args.nll_at_one || args.temperature == 1.0f) set("observationNllAtOneSum", totals.observation_nll_at_one_sum);
  set("actionNllSum", totals.action_nll_sum);
  set("surrogateSum", totals.surrogate_sum);
  if (args.reference_logprobs != nullptr) set("klSum", totals.kl_sum);
  if (args.entropy || args.entropy_coefficient != 0.0f) set("entropySum", totals.entropy_sum);
  set("ratioSum", totals.ratio_sum);
  set("ratioMax", totals.ratio_max);
  set("clippedLow", static_cast<double>(totals.clipped_low));
  set("clippedHigh", static_cast<double>(totals.clipped_high));
  set("clippedDual", static_cast<double>(totals.clipped_dual));
  set("nonfiniteRows", static_cast<double>(totals.nonfinite_rows));
  return out;
}

}  // namespace echo::addon
