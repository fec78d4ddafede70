#include <cstdint>
#include <string>
#include <vector>

#include "../optim/adamw.h"
#include "../optim/grad_norm.h"
#include "checked.h"
#include "register.h"

namespace echo::addon {
namespace {

bool take_array(Napi::Value value, const char* name, Napi::Array& out) {
  if (!value.IsArray())
    return throw_error(value.Env(), "ERR_INVALID_TYPE", std::string("[native] ") + name + ": expected an array.");
  out = value.As<Napi::Array>();
  return true;
}

// Tensor i of a list whose entries must have `length` elements (any, if negative).
bool take_entry(const Napi::Array& list, uint32_t i, const char* name, int64_t length, View<float>& out) {
  return take(list.Get(i), (std::string(name) + "[" + std::to_string(i) + "]").c_str(), length, out);
}

Napi::Value grad_norm_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Array grads;
  if (!take_array(info[0], "grads", grads)) return env.Undefined();
  std::vector<GradTensor> tensors(grads.Length());
  for (uint32_t i = 0; i < grads.Length(); i++) {
    View<float> grad;
    if (!take_entry(grads, i, "grads", -1, grad)) return env.Undefined();
    tensors[i] = {grad.data, grad.length};
  }
  double norm = 0;
  if (!check_status(env, "gradNorm", grad_norm(tensors.data(), static_cast<int64_t>(tensors.size()), &norm)))
    return env.Undefined();
  return Napi::Number::New(env, norm);
}

Napi::Value adamw_step_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Array values, grads, first, second;
  if (!take_array(info[0], "values", values) || !take_array(info[1], "grads", grads) ||
      !take_array(info[2], "firstMoments", first) || !take_array(info[3], "secondMoments", second))
    return env.Undefined();
  const uint32_t count = values.Length();
  View<double> decays;
  AdamWArgs args{};
  if (!take(info[4], "weightDecays", count, decays) || !take_number(info[5], "learningRate", args.learning_rate) ||
      !take_number(info[6], "beta1", args.beta1) || !take_number(info[7], "beta2", args.beta2) ||
      !take_number(info[8], "eps", args.eps) || !take_number(info[9], "gradScale", args.grad_scale) ||
      !take_integer(info[10], "step", 1, int64_t{1} << 53, args.step))
    return env.Undefined();
  std::vector<AdamWTensor> tensors(count);
  for (uint32_t i = 0; i < count; i++) {
    View<float> value, grad, m, v;
    if (!take_entry(values, i, "values", -1, value) || !take_entry(grads, i, "grads", value.length, grad) ||
        !take_entry(first, i, "firstMoments", value.length, m) ||
        !take_entry(second, i, "secondMoments", value.length, v))
      return env.Undefined();
    tensors[i] = {value.data, grad.data, m.data, v.data, value.length, decays.data[i]};
  }
  args.tensors = tensors.data();
  args.count = count;
  check_status(env, "adamwStep", adamw_step(args));
  return env.Undefined();
}

}  // namespace

void register_optim(Napi::Env env, Napi::Object exports) {
  exports.Set("gradNorm", Napi::Function::New(env, grad_norm_call, "gradNorm"));
  exports.Set("adamwStep", Napi::Function::New(env, adamw_step_call, "adamwStep"));
}

}  // namespace echo::addon
