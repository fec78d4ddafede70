#include "../model/sampler.h"

#include <memory>
#include <string>
#include <vector>

#include "model.h"

namespace echo::addon {
namespace {

void sampler_step(const Napi::CallbackInfo& info, Sampler& sampler, int64_t vocab) {
  const Napi::Env env = info.Env();
  View<int32_t> slots, counts, tokens, out_ids;
  View<uint64_t> seeds;
  View<float> out_logprobs;
  float temperature = 0;
  if (!take(info[0], "slots", -1, slots)) return;
  const int64_t entries = slots.length;
  if (!take(info[1], "counts", entries, counts) || !take(info[2], "tokens", -1, tokens) || !take(info[3], "seeds", entries, seeds) ||
      !take_temperature(info[4], temperature) || !take(info[5], "outIds", entries, out_ids) ||
      !take(info[6], "outLogprobs", entries, out_logprobs) || !check_ids(env, "tokens", tokens, vocab))
    return;
  std::vector<bool> used(static_cast<size_t>(sampler.slots()));
  int64_t total = 0;
  for (int64_t i = 0; i < entries; i++) {
    const int64_t slot = slots.data[i], count = counts.data[i];
    if (slot < 0 || slot >= sampler.slots()) {
      out_of_range(env, at("slots", i), "0 to " + std::to_string(sampler.slots() - 1), std::to_string(slot));
      return;
    }
    if (used[static_cast<size_t>(slot)]) {
      out_of_range(env, at("slots", i), "each slot once", std::to_string(slot) + " again");
      return;
    }
    used[static_cast<size_t>(slot)] = true;
    const int64_t room = sampler.max_context() - sampler.length(slot);
    if (count < 1 || count > room) {
      out_of_range(env, at("counts", i), "1 to " + std::to_string(room) + ", the room in slot " + std::to_string(slot),
                   std::to_string(count));
      return;
    }
    if (sampler.stale(slot)) {
      throw_error(env, "ERR_UNSUPPORTED", "[native decoder] slot " + std::to_string(slot) +
                                              " holds tokens of parameters that have changed since. Truncate it to 0 first.");
      return;
    }
    total += count;
  }
  if (total != tokens.length) {
    out_of_range(env, "tokens", "the sum of counts, " + std::to_string(total), std::to_string(tokens.length));
    return;
  }
  const Status status = sampler.step(
      {entries, slots.data, counts.data, tokens.data, seeds.data, temperature, out_ids.data, out_logprobs.data});
  if (status == Status::not_finite) {
    throw_error(env, "ERR_NON_FINITE", "[native decoder] the logits are not finite: the parameters have diverged.");
    return;
  }
  check_status(env, "sampler.step", status);
}

}  // namespace

Napi::Value create_sampler(const Napi::CallbackInfo& info, const std::shared_ptr<Decoder>& decoder) {
  const Napi::Env env = info.Env();
  int64_t slots = 0, max_context = 0;
  if (!take_integer(info[0], "slots", 1, 1 << 20, slots) ||
      !take_integer(info[1], "maxContext", 1, decoder->config().max_positions, max_context))
    return env.Undefined();
  const std::shared_ptr<Sampler> sampler = Sampler::create(decoder, slots, max_context);
  if (sampler == nullptr) {
    check_status(env, "createSampler", Status::out_of_memory);
    return env.Undefined();
  }
  const auto memory = std::make_shared<ExternalMemory>(env, sampler->bytes());
  const int64_t vocab = decoder->config().vocab;
  Napi::Object object = Napi::Object::New(env);
  method(env, object, "step", [sampler, memory, vocab](const Napi::CallbackInfo& call) { sampler_step(call, *sampler, vocab); });
  method(env, object, "length", [sampler](const Napi::CallbackInfo& call) -> Napi::Value {
    int64_t slot = 0;
    if (!take_integer(call[0], "slot", 0, sampler->slots() - 1, slot)) return call.Env().Undefined();
    return Napi::Number::New(call.Env(), static_cast<double>(sampler->length(slot)));
  });
  method(env, object, "truncate", [sampler](const Napi::CallbackInfo& call) {
    int64_t slot = 0, length = 0;
    if (take_integer(call[0], "slot", 0, sampler->slots() - 1, slot) &&
        take_integer(call[1], "length", 0, sampler->max_context(), length))
      sampler->truncate(slot, length);
  });
  return object;
}

}  // namespace echo::addon
