#include <cstdint>

#include "../loss/echo_loss.h"
#include "../loss/in_place_update.h"
#include "../loss/token_logprobs.h"
#include "checked.h"
#include "loss_args.h"
#include "placed_calls.h"
#include "register.h"

namespace echo::addon {
namespace {

// (block with gradientDtype and shard | undefined, rows, options, logprobsOut, entropiesOut | null): totals
Napi::Value echo_loss_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  EchoLossArgs args{};
  LogitsBlock block;
  View<float> logprobs, entropies;
  VocabShard shard{};
  if (!take_echo_loss(info, args, block, &shard) || !take_optional(info[3], "logprobsOut", args.rows, logprobs) ||
      !take_optional(info[4], "entropiesOut", args.rows, entropies))
    return env.Undefined();
  EchoLossTotals sums{};
  args.logprobs = logprobs.data;
  args.entropies = entropies.data;
  args.totals = &sums;
  CudaFailure failure;
  const Status status = echo_loss_at(block.place, args, &failure);
  if (!check_status(env, "echoLoss", status, failure)) return env.Undefined();
  return totals_object(env, sums, args);
}

// (block, targets, { temperature, logitSoftcap }, logprobsOut, entropiesOut | null)
Napi::Value token_logprobs_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  TokenLogprobsArgs args{};
  LogitsBlock block;
  View<float> logprobs, entropies;
  if (!take_reading(info, args, block) || !take(info[3], "logprobsOut", args.rows, logprobs) ||
      !take_optional(info[4], "entropiesOut", args.rows, entropies))
    return env.Undefined();
  args.logprobs = logprobs.data;
  args.entropies = entropies.data;
  CudaFailure failure;
  const Status status = token_logprobs_at(block.place, args, &failure);
  check_status(env, "tokenLogprobs", status, failure);
  return env.Undefined();
}

// (block, targets, { temperature, logitSoftcap, vocabStart }, statistics)
Napi::Value vocab_statistics_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  VocabStatisticsArgs args{};
  LogitsBlock block;
  Napi::Object statistics;
  if (!take_reading(info, args, block) ||
      !take_integer(info[2].As<Napi::Object>().Get("vocabStart"), "vocabStart", 0, INT32_MAX, args.begin) ||
      !take_object(info[3], "statistics", statistics) || !take_statistics(statistics, args.rows, args.out))
    return env.Undefined();
  CudaFailure failure;
  const Status status = vocab_statistics_at(block.place, args, &failure);
  check_status(env, "vocabStatistics", status, failure);
  return env.Undefined();
}

Napi::Value in_place_update_call(const Napi::CallbackInfo& info) {
  View<float> x;
  int64_t ld = 0;
  if (take(info[0], "x", -1, x) && take_integer(info[1], "ld", 1, int64_t{1} << 40, ld)) in_place_update(x.data, x.length / ld, ld);
  return info.Env().Undefined();
}

}  // namespace

void register_loss(Napi::Env env, Napi::Object exports) {
  exports.Set("echoLoss", Napi::Function::New(env, echo_loss_call, "echoLoss"));
  exports.Set("tokenLogprobs", Napi::Function::New(env, token_logprobs_call, "tokenLogprobs"));
  exports.Set("vocabStatistics", Napi::Function::New(env, vocab_statistics_call, "vocabStatistics"));
  exports.Set("benchInPlaceUpdate", Napi::Function::New(env, in_place_update_call, "benchInPlaceUpdate"));
}

}  // namespace echo::addon
