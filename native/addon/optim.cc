#include <cstdint>
#include <string>
#include <vector>

#include "../optim/adamw.h"
#include "../optim/grad_norm.h"
#include "checked.h"
#include "disjoint.h"
#include "register.h"

namespace echo::addon {
namespace {

// Lists of typed arrays, taken in two phases. An entry may be a getter, which runs JavaScript, so first every entry is fetched and only
// then is memory looked at; `still_attached` ends the second phase, because looking for `resizable` may run JavaScript too.
class ArrayList {
 public:
  static constexpr uint32_t most_tensors = 1u << 20;

  bool fetch(Napi::Value value, const char* name) {
    name_ = name;
    if (!value.IsArray())
      return throw_error(value.Env(), "ERR_INVALID_TYPE", std::string("[native] ") + name + ": expected an array.");
    const Napi::Array list = value.As<Napi::Array>();
    if (list.Length() > most_tensors)
      return throw_error(value.Env(), "ERR_OUT_OF_RANGE", std::string("[native] ") + name + ": expected at most " +
                                                              std::to_string(most_tensors) + " tensors.");
    entries_.resize(list.Length());
    for (uint32_t i = 0; i < entries_.size(); i++) {
      entries_[i] = list.Get(i);
      if (value.Env().IsExceptionPending()) return false;
    }
    return true;
  }

  std::size_t size() const { return entries_.size(); }
  std::string name(std::size_t i) const { return std::string(name_) + "[" + std::to_string(i) + "]"; }

  // A list shorter than the others has undefined entries, which no `take` accepts.
  Napi::Value at(Napi::Env env, std::size_t i) const { return i < entries_.size() ? entries_[i] : env.Undefined(); }

  bool is_bfloat16(Napi::Env env, std::size_t i) const {
    const Napi::Value value = at(env, i);
    return value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_uint16_array;
  }

  // `length` elements (any number, if negative).
  template <typename T>
  bool take_entry(Napi::Env env, std::size_t i, int64_t length, View<T>& out) const {
    return take(at(env, i), name(i).c_str(), length, out);
  }

  bool still_attached(Napi::Env env) const {
    for (std::size_t i = 0; i < entries_.size(); i++)
      if (entries_[i].IsTypedArray() && entries_[i].As<Napi::TypedArray>().ArrayBuffer().IsDetached())
        return throw_error(env, "ERR_DETACHED", "[native] " + name(i) + ": its buffer was detached.");
    return true;
  }

 private:
  const char* name_ = "";
  std::vector<Napi::Value> entries_;
};

template <typename T>
void add_view(std::vector<Range>& ranges, const View<T>& view, bool written) {
  add_range(ranges, view.data, view.length * static_cast<int64_t>(sizeof(T)), written);
}

// Gradient i, of either dtype.
bool take_grad(Napi::Env env, const ArrayList& grads, std::size_t i, int64_t length, View<float>& wide, View<uint16_t>& narrow) {
  return grads.is_bfloat16(env, i) ? grads.take_entry(env, i, length, narrow) : grads.take_entry(env, i, length, wide);
}

Napi::Value grad_norm_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  ArrayList grads;
  if (!grads.fetch(info[0], "grads")) return env.Undefined();
  std::vector<GradTensor> tensors(grads.size());
  for (std::size_t i = 0; i < tensors.size(); i++) {
    View<float> wide;
    View<uint16_t> narrow;
    if (!take_grad(env, grads, i, -1, wide, narrow)) return env.Undefined();
    tensors[i] = {wide.data, wide.length + narrow.length, narrow.data};
  }
  if (!grads.still_attached(env)) return env.Undefined();
  double norm = 0;
  if (!check_status(env, "gradNorm", grad_norm(tensors.data(), static_cast<int64_t>(tensors.size()), &norm)))
    return env.Undefined();
  return Napi::Number::New(env, norm);
}

// The lists of adamwStep.
struct StepLists {
  ArrayList values, grads, first, second, masters;

  bool fetch(const Napi::CallbackInfo& info) {
    return values.fetch(info[0], "values") && grads.fetch(info[1], "grads") && first.fetch(info[2], "firstMoments") &&
           second.fetch(info[3], "secondMoments") && masters.fetch(info[11], "masters");
  }

  bool still_attached(Napi::Env env) const {
    return values.still_attached(env) && grads.still_attached(env) && first.still_attached(env) &&
           second.still_attached(env) && masters.still_attached(env);
  }

  bool take_tensor(Napi::Env env, std::size_t i, double decay, AdamWTensor& out, std::vector<Range>& ranges) const {
    View<float> value, grad, m, v;
    View<uint16_t> narrow_value, narrow_grad;
    if (values.is_bfloat16(env, i)) {
      if (!values.take_entry(env, i, -1, narrow_value) || !masters.take_entry(env, i, narrow_value.length, value) ||
          !take_grad(env, grads, i, value.length, grad, narrow_grad))
        return false;
    } else {
      if (!values.take_entry(env, i, -1, value)) return false;
      const Napi::Value master = masters.at(env, i);
      if (!master.IsNull() && !master.IsUndefined())
        return throw_error(env, "ERR_INVALID_TYPE", "[native] " + masters.name(i) + ": expected null beside a float32 value.");
      if (!grads.take_entry(env, i, value.length, grad)) return false;
    }
    if (!first.take_entry(env, i, value.length, m) || !second.take_entry(env, i, value.length, v)) return false;
    out = {value.data, grad.data, m.data, v.data, value.length, decay, narrow_value.data, narrow_grad.data};
    for (const View<float>& written : {value, m, v}) add_view(ranges, written, true);
    add_view(ranges, narrow_value, true);
    add_view(ranges, grad, false);
    add_view(ranges, narrow_grad, false);
    return true;
  }
};

Napi::Value adamw_step_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  StepLists lists;
  if (!lists.fetch(info)) return env.Undefined();
  const std::size_t count = lists.values.size();
  View<double> decays;
  AdamWArgs args{};
  if (!take(info[4], "weightDecays", static_cast<int64_t>(count), decays) ||
      !take_number(info[5], "learningRate", args.learning_rate) || !take_number(info[6], "beta1", args.beta1) ||
      !take_number(info[7], "beta2", args.beta2) || !take_number(info[8], "eps", args.eps) ||
      !take_number(info[9], "gradScale", args.grad_scale) ||
      !take_integer(info[10], "step", 1, int64_t{1} << 53, args.step))
    return env.Undefined();
  std::vector<AdamWTensor> tensors(count);
  std::vector<Range> ranges;
  const std::vector<double> decay(decays.data, decays.data + count);
  for (std::size_t i = 0; i < count; i++)
    if (!lists.take_tensor(env, i, decay[i], tensors[i], ranges)) return env.Undefined();
  if (!lists.still_attached(env) || !check_disjoint(env, ranges)) return env.Undefined();
  args.tensors = tensors.data();
  args.count = static_cast<int64_t>(count);
  check_status(env, "adamwStep", adamw_step(args));
  return env.Undefined();
}

}  // namespace

void register_optim(Napi::Env env, Napi::Object exports) {
  exports.Set("gradNorm", Napi::Function::New(env, grad_norm_call, "gradNorm"));
  exports.Set("adamwStep", Napi::Function::New(env, adamw_step_call, "adamwStep"));
}

}  // namespace echo::addon
