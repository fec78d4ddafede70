#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "loss_args.h"
#include "model.h"
#include "register.h"

namespace echo::addon {
namespace {

using Floats = std::shared_ptr<Buffer<float>>;

bool take_batch(const Napi::CallbackInfo& info, const DecoderConfig& config, View<int32_t>& ids, PackedBatch& batch) {
  const Napi::Env env = info.Env();
  View<int32_t> cu_seq_lens;
  if (!take(info[0], "ids", -1, ids) || !take(info[1], "cuSeqLens", -1, cu_seq_lens)) return false;
  const int64_t sequences = cu_seq_lens.length - 1;
  if (sequences < 1) return out_of_range(env, "cuSeqLens", "at least 2 entries", std::to_string(cu_seq_lens.length));
  if (cu_seq_lens.data[0] != 0) return out_of_range(env, "cuSeqLens[0]", "0", std::to_string(cu_seq_lens.data[0]));
  for (int64_t i = 0; i < sequences; i++) {
    const int64_t length = static_cast<int64_t>(cu_seq_lens.data[i + 1]) - cu_seq_lens.data[i];
    if (length < 1)
      return out_of_range(env, at("cuSeqLens", i + 1), "more than " + std::to_string(cu_seq_lens.data[i]),
                          std::to_string(cu_seq_lens.data[i + 1]));
    if (length > config.max_positions)
      return out_of_range(env, "length of sequence " + std::to_string(i), "at most " + std::to_string(config.max_positions),
                          std::to_string(length));
  }
  if (cu_seq_lens.data[sequences] != ids.length)
    return out_of_range(env, at("cuSeqLens", sequences), "the number of ids, " + std::to_string(ids.length),
                        std::to_string(cu_seq_lens.data[sequences]));
  batch = {ids.data, cu_seq_lens.data, sequences};
  return check_ids(env, "ids", ids, config.vocab);
}

bool take_finite(Napi::Object options, const char* name, float& out) {
  double number = 0;
  if (!take_number(options.Get(name), name, number)) return false;
  out = static_cast<float>(number);
  return std::isfinite(out) || out_of_range(options.Env(), name, "a finite number", std::to_string(number));
}

bool take_loss(const Napi::CallbackInfo& info, int64_t rows, int64_t vocab, EchoLossArgs& loss) {
  Napi::Object vectors, options;
  return take_object(info[2], "rows", vectors) && take_object(info[3], "options", options) &&
         take_loss_rows(vectors, rows, vocab, loss) && take_loss_options(options, loss);
}

// JavaScript's view keeps the memory alive, as does the decoder: whichever goes last frees it.
Napi::ArrayBuffer share(Napi::Env env, const Floats& floats, int64_t size) {
  return Napi::ArrayBuffer::New(
      env, floats->data(), static_cast<size_t>(size) * sizeof(float), [](Napi::Env, void*, Floats* owner) { delete owner; },
      new Floats(floats));
}

Napi::Array parameter_list(Napi::Env env, const Decoder& decoder) {
  const ParameterLayout& layout = decoder.layout();
  const Napi::ArrayBuffer values = share(env, decoder.values(), layout.size);
  const Napi::ArrayBuffer gradients = share(env, decoder.gradients(), layout.size);
  Napi::Array list = Napi::Array::New(env, layout.parameters.size());
  for (uint32_t i = 0; i < layout.parameters.size(); i++) {
    const DecoderParameter& parameter = layout.parameters[i];
    const size_t offset = static_cast<size_t>(parameter.offset) * sizeof(float), size = static_cast<size_t>(parameter.size());
    Napi::Array shape = Napi::Array::New(env);
    shape.Set(0u, Napi::Number::New(env, static_cast<double>(parameter.rows)));
    if (parameter.columns > 0) shape.Set(1u, Napi::Number::New(env, static_cast<double>(parameter.columns)));
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", Napi::String::New(env, parameter.name));
    entry.Set("shape", shape);
    entry.Set("value", Napi::Float32Array::New(env, size, values, offset));
    entry.Set("grad", Napi::Float32Array::New(env, size, gradients, offset));
    list.Set(i, entry);
  }
  return list;
}

bool take_config(Napi::Value value, DecoderConfig& config) {
  Napi::Object object;
  if (!take_object(value, "config", object)) return false;
  constexpr int64_t most = 1 << 24;
  if (!take_integer(object.Get("vocabSize"), "vocabSize", 1, most, config.vocab) ||
      !take_integer(object.Get("hiddenSize"), "hiddenSize", 1, 1 << 16, config.hidden) ||
      !take_integer(object.Get("intermediateSize"), "intermediateSize", 1, 1 << 20, config.intermediate) ||
      !take_integer(object.Get("numLayers"), "numLayers", 1, 1024, config.layers) ||
      !take_integer(object.Get("numHeads"), "numHeads", 1, 1024, config.heads) ||
      !take_integer(object.Get("numKvHeads"), "numKvHeads", 1, config.heads, config.kv_heads) ||
      !take_integer(object.Get("headDim"), "headDim", 2, 1024, config.head_dim) ||
      !take_integer(object.Get("maxPositions"), "maxPositions", 1, most, config.max_positions) ||
      !take_number(object.Get("ropeTheta"), "ropeTheta", config.rope_theta) ||
      !take_finite(object, "rmsNormEps", config.rms_norm_eps))
    return false;
  const Napi::Env env = value.Env();
  config.tied = object.Get("tieWordEmbeddings").ToBoolean().Value();
  if (config.heads % config.kv_heads != 0)
    return out_of_range(env, "numHeads", "a multiple of numKvHeads, " + std::to_string(config.kv_heads), std::to_string(config.heads));
  if (config.head_dim % 2 != 0) return out_of_range(env, "headDim", "an even number", std::to_string(config.head_dim));
  if (!(config.rope_theta > 0) || !std::isfinite(config.rope_theta))
    return out_of_range(env, "ropeTheta", "a finite number > 0", std::to_string(config.rope_theta));
  if (config.rms_norm_eps < 0) return out_of_range(env, "rmsNormEps", "a number >= 0", std::to_string(config.rms_norm_eps));
  return true;
}

Napi::Value create_decoder(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  DecoderConfig config{};
  if (!take_config(info[0], config)) return env.Undefined();
  const std::shared_ptr<Decoder> decoder = Decoder::create(config);
  if (decoder == nullptr) {
    check_status(env, "createDecoder", Status::out_of_memory);
    return env.Undefined();
  }
  // The packed weights; values and gradients are known to the collector through their array buffers.
  const auto memory = std::make_shared<ExternalMemory>(env, decoder->layout().size * static_cast<int64_t>(sizeof(float)));
  const auto parameters = std::make_shared<Napi::ObjectReference>(Napi::Persistent(parameter_list(env, *decoder).As<Napi::Object>()));
  Napi::Object object = Napi::Object::New(env);
  method(env, object, "parameters", [parameters](const Napi::CallbackInfo&) -> Napi::Value { return parameters->Value(); });
  method(env, object, "forwardBackward", [decoder, memory](const Napi::CallbackInfo& call) -> Napi::Value {
    const Napi::Env env = call.Env();
    View<int32_t> ids;
    PackedBatch batch;
    EchoLossArgs loss{};
    if (!take_batch(call, decoder->config(), ids, batch) || !take_loss(call, ids.length, decoder->config().vocab, loss))
      return env.Undefined();
    EchoLossTotals totals;
    if (!check_status(env, "forwardBackward", decoder->forward_backward(batch, loss, &totals))) return env.Undefined();
    return totals_object(env, totals, loss);
  });
  method(env, object, "logprobs", [decoder](const Napi::CallbackInfo& call) -> Napi::Value {
    const Napi::Env env = call.Env();
    View<int32_t> ids;
    PackedBatch batch;
    float temperature = 0;
    if (!take_batch(call, decoder->config(), ids, batch) || !take_temperature(call[2], temperature)) return env.Undefined();
    Napi::Float32Array out = Napi::Float32Array::New(env, static_cast<size_t>(ids.length));
    if (!check_status(env, "logprobs", decoder->logprobs(batch, temperature, out.Data()))) return env.Undefined();
    return out;
  });
  method(env, object, "logits", [decoder](const Napi::CallbackInfo& call) -> Napi::Value {
    const Napi::Env env = call.Env();
    View<int32_t> ids;
    PackedBatch batch;
    if (!take_batch(call, decoder->config(), ids, batch)) return env.Undefined();
    const int64_t size = ids.length * decoder->config().vocab;
    constexpr int64_t most = int64_t{1} << 29;
    if (size > most) {
      out_of_range(env, "ids", "at most " + std::to_string(most / decoder->config().vocab) + " rows of logits",
                   std::to_string(ids.length));
      return env.Undefined();
    }
    Napi::Float32Array out = Napi::Float32Array::New(env, static_cast<size_t>(size));
    if (!check_status(env, "logits", decoder->logits(batch, out.Data()))) return env.Undefined();
    return out;
  });
  method(env, object, "zeroGradients", [decoder](const Napi::CallbackInfo&) { decoder->zero_gradients(); });
  method(env, object, "parametersChanged", [decoder](const Napi::CallbackInfo&) { decoder->parameters_changed(); });
  method(env, object, "createSampler",
         [decoder](const Napi::CallbackInfo& call) -> Napi::Value { return create_sampler(call, decoder); });
  return object;
}

}  // namespace

void register_decoder(Napi::Env env, Napi::Object exports) {
  exports.Set("createDecoder", Napi::Function::New(env, create_decoder, "createDecoder"));
}

}  // namespace echo::addon
