#include "../model/linear_loss.h"

#include <cstdint>
#include <string>

#include "checked.h"
#include "loss_args.h"
#include "placed_calls.h"
#include "register.h"

namespace echo::addon {
namespace {

constexpr int64_t most_width = 1 << 24;

struct Head {
  HeadWeight weight{};
  void* hidden = nullptr;
  Dtype hidden_type = Dtype::float32;
  int64_t chunk_rows = 0;
  Place place;

  // float32 or bfloat16, of the host or of a device. False after throwing.
  bool take_numbers(Napi::Value value, const char* name, Dtype type, int64_t length, void*& out) {
    if (type == Dtype::float16)
      return throw_error(value.Env(), "ERR_INVALID_DTYPE", std::string("[native] ") + name + ": expected float32 or bfloat16.");
    return place.take(value, name, type, length, out);
  }
};

// { hidden, hiddenDtype, weight, weightDtype, vocab, width, chunkRows, upload? }
bool take_head(Napi::Object object, int64_t rows, Head& out) {
  void* weight = nullptr;
  if (!take_integer(object.Get("vocab"), "vocabSize", 1, INT32_MAX, out.weight.vocab) ||
      !take_integer(object.Get("width"), "hiddenSize", 1, most_width, out.weight.width) ||
      !take_integer(object.Get("chunkRows"), "chunkRows", 1, INT32_MAX, out.chunk_rows) ||
      !take_dtype(object.Get("hiddenDtype"), "hiddenDtype", out.hidden_type) ||
      !take_dtype(object.Get("weightDtype"), "weightDtype", out.weight.type) ||
      (object.Get("upload").ToBoolean().Value() && !out.place.upload(object.Env())) ||
      !out.take_numbers(object.Get("hidden"), "hidden", out.hidden_type, rows * out.weight.width, out.hidden) ||
      !out.take_numbers(object.Get("weight"), "weight", out.weight.type, out.weight.vocab * out.weight.width, weight))
    return false;
  out.weight.values = weight;
  return true;
}

// (head, rows, options, hiddenGradientOut, weightGradient | null, logprobsOut, entropiesOut | null): totals
Napi::Value linear_loss_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Object object, vectors, options;
  View<int32_t> targets;
  if (!take_object(info[0], "head", object) || !take_object(info[1], "rows", vectors) || !take_object(info[2], "options", options) ||
      !take(vectors.Get("targets"), "targets", -1, targets))
    return env.Undefined();
  const int64_t rows = targets.length;
  Head head;
  View<float> logprobs, entropies;
  void* weight_gradient = nullptr;
  LinearLossArgs args{};
  if (!take_head(object, rows, head) || !take_loss_rows(vectors, rows, head.weight.vocab, args.loss) ||
      !take_loss_options(options, args.loss) ||
      !head.take_numbers(info[3], "hiddenGradientOut", head.hidden_type, rows * head.weight.width, args.hidden_gradient) ||
      (!info[4].IsNull() && !info[4].IsUndefined() &&
       !head.take_numbers(info[4], "weightGradient", Dtype::float32, head.weight.vocab * head.weight.width, weight_gradient)) ||
      !take(info[5], "logprobsOut", rows, logprobs) || !take_optional(info[6], "entropiesOut", rows, entropies))
    return env.Undefined();
  EchoLossTotals sums{};
  args.weight = head.weight;
  args.hidden = head.hidden;
  args.hidden_type = head.hidden_type;
  args.weight_gradient = static_cast<float*>(weight_gradient);
  args.rows = rows;
  args.chunk_rows = head.chunk_rows;
  args.loss.logprobs = logprobs.data;
  args.loss.entropies = entropies.data;
  args.loss.totals = &sums;
  CudaFailure failure;
  const Status status = linear_echo_loss_at(head.place, args, &failure);
  if (!check_status(env, "linearEchoLoss", status, failure)) return env.Undefined();
  return totals_object(env, sums, args.loss);
}

// (head, targets, { temperature, logitSoftcap }, logprobsOut, entropiesOut | null)
Napi::Value linear_logprobs_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Object object;
  View<float> logprobs, entropies;
  Head head;
  LinearLogprobsArgs args{};
  if (!take_object(info[0], "head", object) || !take_read_rows(info, args) || !take_head(object, args.rows, head) ||
      !take(info[3], "logprobsOut", args.rows, logprobs) || !take_optional(info[4], "entropiesOut", args.rows, entropies))
    return env.Undefined();
  args.weight = head.weight;
  args.hidden = head.hidden;
  args.hidden_type = head.hidden_type;
  args.chunk_rows = head.chunk_rows;
  args.logprobs = logprobs.data;
  args.entropies = entropies.data;
  CudaFailure failure;
  const Status status = linear_token_logprobs_at(head.place, args, &failure);
  check_status(env, "linearTokenLogprobs", status, failure);
  return env.Undefined();
}

}  // namespace

void register_linear_loss(Napi::Env env, Napi::Object exports) {
  exports.Set("linearEchoLoss", Napi::Function::New(env, linear_loss_call, "linearEchoLoss"));
  exports.Set("linearTokenLogprobs", Napi::Function::New(env, linear_logprobs_call, "linearTokenLogprobs"));
}

}  // namespace echo::addon
