// The objective's logits, rows, options and totals between JavaScript objects and native/loss, for every operation that computes the loss.
#pragma once

#include <napi.h>

#include <cstdint>

#include "../loss/echo_loss.h"
#include "../loss/vocab_statistics.h"
#include "checked.h"
#include "device_memory.h"

namespace echo::addon {

struct LogitsBlock {
  void* logits = nullptr;  // where `place` says
  Place place;
  Dtype type = Dtype::float32;
  Dtype gradient_type = Dtype::float32;
  int64_t vocab = 0;
  int64_t ld = 0;
  int64_t bytes = 0;
};

// { logits, dtype, vocab, ld, gradientDtype?, upload? } of `rows` rows: Float32Array, the bits of 16-bit numbers in an Uint16Array, or device
// memory. False after throwing.
bool take_block(Napi::Value value, int64_t rows, LogitsBlock& out);

// { max, sum, targetLogits, weighted | null } of `rows` rows. False after throwing.
bool take_statistics(Napi::Object object, int64_t rows, VocabStatistics& out);

// (block, rows, options, ...): what every form of the loss begins with. Outputs stay null. Where the block may be a shard of the vocabulary
// (block.shard), `shard` keeps what `args` points to. False after throwing.
bool take_echo_loss(const Napi::CallbackInfo& info, EchoLossArgs& args, LogitsBlock& block, VocabShard* shard = nullptr);

template <typename Args>
void set_block(const LogitsBlock& block, Args& args) {
  args.logits = block.logits;
  args.logits_type = block.type;
  args.vocab = block.vocab;
  args.ld = block.ld;
}

// (..., targets, { temperature, logitSoftcap }, ...): the rows of what only reads logits, from a block or a layer. False after throwing.
template <typename Args>
bool take_read_rows(const Napi::CallbackInfo& info, Args& args) {
  View<int32_t> targets;
  Napi::Object options;
  double temperature = 0, softcap = 0;
  if (!take(info[1], "targets", -1, targets) || !take_object(info[2], "options", options) ||
      !take_number(options.Get("temperature"), "temperature", temperature) || !take_number(options.Get("logitSoftcap"), "logitSoftcap", softcap))
    return false;
  args.rows = targets.length;
  args.targets = targets.data;
  args.temperature = static_cast<float>(temperature);
  args.logit_softcap = static_cast<float>(softcap);
  return true;
}

// (block, targets, { temperature, logitSoftcap }, ...): log-probabilities and the statistics of shards. Outputs stay null. False after throwing.
template <typename Args>
bool take_reading(const Napi::CallbackInfo& info, Args& args, LogitsBlock& block) {
  if (!take_read_rows(info, args) || !take_block(info[0], args.rows, block)) return false;
  set_block(block, args);
  return true;
}

// Row vectors of `rows` entries (lib/loss/loss-rows.ts) into `args`. Each weighted row is checked: its target within the vocabulary, its
// numbers finite. False after throwing.
bool take_loss_rows(Napi::Object vectors, int64_t rows, int64_t vocab, EchoLossArgs& args);

// Every option of lib/loss/loss-options.ts, none left out. False after throwing.
bool take_loss_options(Napi::Object options, EchoLossArgs& args);

// LossTotals of lib/loss/loss-totals.ts.
Napi::Object totals_object(Napi::Env env, const EchoLossTotals& totals, const EchoLossArgs& args);

}  // namespace echo::addon
