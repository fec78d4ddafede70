#include <cstdint>
#include <string>

#include "../loss/echo_loss.h"
#include "../loss/in_place_update.h"
#include "../loss/token_logprobs.h"
#include "checked.h"
#include "loss_args.h"
#include "register.h"

namespace echo::addon {
namespace {

constexpr int64_t most = int64_t{1} << 40;

struct Block {
  void* logits = nullptr;
  Dtype type = Dtype::float32;
  int64_t vocab = 0;
  int64_t ld = 0;
};

// { logits, dtype, vocab, ld } of `rows` rows: Float32Array, or the bits of 16-bit numbers in an Uint16Array.
bool take_block(Napi::Value value, int64_t rows, Block& out) {
  Napi::Object object;
  if (!take_object(value, "block", object) || !take_dtype(object.Get("dtype"), "dtype", out.type) ||
      !take_integer(object.Get("vocab"), "vocabSize", 1, INT32_MAX, out.vocab) ||
      !take_integer(object.Get("ld"), "ld", out.vocab, most, out.ld))
    return false;
  const Napi::Value logits = object.Get("logits");
  if (out.type == Dtype::float32) {
    View<float> view;
    if (!take(logits, "logits", rows * out.ld, view)) return false;
    out.logits = view.data;
    return true;
  }
  View<uint16_t> view;
  if (!take(logits, "logits", rows * out.ld, view)) return false;
  out.logits = view.data;
  return true;
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

// Undefined: the block is of the whole vocabulary.
bool take_shard(Napi::Value value, int64_t rows, int64_t vocab, VocabShard& shard, const VocabShard*& out) {
  if (value.IsUndefined()) return true;
  Napi::Object object, statistics;
  out = &shard;
  return take_object(value, "shard", object) && take_integer(object.Get("begin"), "vocabStart", 0, INT32_MAX, shard.begin) &&
         take_integer(object.Get("total"), "totalVocabSize", shard.begin + vocab, INT32_MAX, shard.total) &&
         take_object(object.Get("statistics"), "statistics", statistics) && take_statistics(statistics, rows, shard.all);
}

// (block with gradientDtype and shard | undefined, rows, options, logprobsOut, entropiesOut | null): totals
Napi::Value echo_loss_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Object block_object, vectors, options;
  View<int32_t> targets;
  if (!take_object(info[0], "block", block_object) || !take_object(info[1], "rows", vectors) ||
      !take_object(info[2], "options", options) || !take(vectors.Get("targets"), "targets", -1, targets))
    return env.Undefined();
  const int64_t rows = targets.length;
  Block block;
  View<float> logprobs, entropies;
  VocabShard shard{};
  EchoLossArgs args{};
  if (!take_block(block_object, rows, block) || !take_dtype(block_object.Get("gradientDtype"), "gradientDtype", args.gradient_type) ||
      !take_shard(block_object.Get("shard"), rows, block.vocab, shard, args.shard) ||
      !take_loss_rows(vectors, rows, args.shard != nullptr ? shard.total : block.vocab, args) || !take_loss_options(options, args) ||
      !take_optional(info[3], "logprobsOut", rows, logprobs) || !take_optional(info[4], "entropiesOut", rows, entropies))
    return env.Undefined();

  EchoLossTotals sums{};
  args.logits = block.logits;
  args.logits_type = block.type;
  args.rows = rows;
  args.vocab = block.vocab;
  args.ld = block.ld;
  args.logprobs = logprobs.data;
  args.entropies = entropies.data;
  args.totals = &sums;
  if (!check_status(env, "echoLoss", echo_loss(args))) return env.Undefined();
  return totals_object(env, sums, args);
}

// (block, targets, { temperature, logitSoftcap }, logprobsOut, entropiesOut | null)
Napi::Value token_logprobs_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  View<float> logprobs, entropies;
  View<int32_t> targets;
  Napi::Object options;
  if (!take(info[1], "targets", -1, targets) || !take_object(info[2], "options", options)) return env.Undefined();
  const int64_t rows = targets.length;
  Block block;
  double temperature = 0, softcap = 0;
  if (!take_block(info[0], rows, block) || !take_number(options.Get("temperature"), "temperature", temperature) ||
      !take_number(options.Get("logitSoftcap"), "logitSoftcap", softcap) || !take(info[3], "logprobsOut", rows, logprobs) ||
      !take_optional(info[4], "entropiesOut", rows, entropies))
    return env.Undefined();
  TokenLogprobsArgs args{};
  args.logits = block.logits;
  args.logits_type = block.type;
  args.rows = rows;
  args.vocab = block.vocab;
  args.ld = block.ld;
  args.targets = targets.data;
  args.temperature = static_cast<float>(temperature);
  args.logit_softcap = static_cast<float>(softcap);
  args.logprobs = logprobs.data;
  args.entropies = entropies.data;
  check_status(env, "tokenLogprobs", token_logprobs(args));
  return env.Undefined();
}

// (block, targets, { temperature, logitSoftcap, vocabStart }, statistics)
Napi::Value vocab_statistics_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  View<int32_t> targets;
  Napi::Object options, statistics;
  if (!take(info[1], "targets", -1, targets) || !take_object(info[2], "options", options) || !take_object(info[3], "statistics", statistics))
    return env.Undefined();
  Block block;
  double temperature = 0, softcap = 0;
  VocabStatisticsArgs args{};
  if (!take_block(info[0], targets.length, block) || !take_number(options.Get("temperature"), "temperature", temperature) ||
      !take_number(options.Get("logitSoftcap"), "logitSoftcap", softcap) ||
      !take_integer(options.Get("vocabStart"), "vocabStart", 0, INT32_MAX, args.begin) ||
      !take_statistics(statistics, targets.length, args.out))
    return env.Undefined();
  args.logits = block.logits;
  args.logits_type = block.type;
  args.rows = targets.length;
  args.vocab = block.vocab;
  args.ld = block.ld;
  args.targets = targets.data;
  args.temperature = static_cast<float>(temperature);
  args.logit_softcap = static_cast<float>(softcap);
  check_status(env, "vocabStatistics", vocab_statistics(args));
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
  exports.Set("vocabStatistics", Napi::Function::New(env, vocab_statistics_call, "vocabStatistics"));
  exports.Set("benchInPlaceUpdate", Napi::Function::New(env, in_place_update_call, "benchInPlaceUpdate"));
}

}  // namespace echo::addon
