// AdamW and the gradient norm over tensors of a device.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "checked.h"
#include "device_memory.h"
#include "disjoint.h"
#include "register.h"

namespace echo::addon {
namespace {

// Random, so that no object of another addon passes for ours.
constexpr napi_type_tag optimizer_tag = {0x7d13c5a94e8b2f60, 0xb6021f9d48e3c75a};
constexpr uint32_t most_tensors = 1u << 20;

using Held = std::vector<std::shared_ptr<DeviceAllocation>>;

// The memory of its table's tensors stays for as long as the optimiser does.
struct DeviceOptimizer {
  CudaOptimizer* optimizer = nullptr;  // null once disposed
  CudaCall call{};
  Held held;

  ~DeviceOptimizer() { drop(); }
  void drop() {
    if (optimizer != nullptr) cuda_api()->destroy_optimizer(optimizer);
    optimizer = nullptr;
    held.clear();
  }
};

// A list of device memory, all of one device and stream with what is in `held` already. An entry may be a getter, which runs JavaScript: so all
// are fetched before any is looked at.
class MemoryList {
 public:
  bool fetch(Napi::Value value, const char* name) {
    name_ = name;
    const Napi::Env env = value.Env();
    if (!value.IsArray()) return throw_error(env, "ERR_INVALID_TYPE", std::string("[native] ") + name + ": expected an array.");
    const Napi::Array list = value.As<Napi::Array>();
    if (list.Length() > most_tensors) return throw_error(env, "ERR_OUT_OF_RANGE", std::string("[native] ") + name + ": too many tensors.");
    entries_.resize(list.Length());
    for (uint32_t i = 0; i < entries_.size(); i++) {
      entries_[i] = list.Get(i);
      if (env.IsExceptionPending()) return false;
    }
    return true;
  }

  std::size_t size() const { return entries_.size(); }
  bool has(std::size_t i) const { return i < entries_.size() && !entries_[i].IsNull(); }

  bool take(Napi::Env env, std::size_t i, Held& held, DeviceSlice& out) const {
    const std::string name = std::string(name_) + "[" + std::to_string(i) + "]";
    if (!take_device_memory(i < entries_.size() ? entries_[i] : env.Undefined(), name.c_str(), out)) return false;
    if (!held.empty()) {
      const CudaCall &first = held.front()->call(), &call = out.memory->call();
      if (first.device != call.device || first.stream != call.stream)
        return throw_error(env, "ERR_UNSUPPORTED", "[native] " + name + ": expected a tensor of the same device and stream as the first.");
    }
    held.push_back(out.memory);
    return true;
  }

 private:
  const char* name_ = "";
  std::vector<Napi::Value> entries_;
};

bool take_api(Napi::Env env, const CudaApi*& api) {
  api = cuda_api();
  return api != nullptr || throw_error(env, "ERR_CUDA_UNAVAILABLE", "[native] CUDA: no library is open.");
}

bool check_bytes(Napi::Env env, std::size_t i, const char* name, const DeviceSlice& slice, int64_t expected) {
  return slice.bytes == expected ||
         throw_error(env, "ERR_INVALID_SHAPE", std::string("[native] ") + name + "[" + std::to_string(i) + "]: expected " +
                                                   std::to_string(expected) + " bytes, got " + std::to_string(slice.bytes) + ".");
}

struct TensorLists {
  MemoryList values, grads, first, second, masters;

  bool fetch(const Napi::CallbackInfo& info) {
    return values.fetch(info[0], "values") && grads.fetch(info[1], "grads") && first.fetch(info[2], "firstMoments") &&
           second.fetch(info[3], "secondMoments") && masters.fetch(info[4], "masters");
  }

  // A value with a master is bfloat16; the size of its gradient says of which type that is.
  bool take(Napi::Env env, std::size_t i, double decay, Held& held, std::vector<Range>& ranges, AdamWTensor& out) const {
    DeviceSlice value, master, grad, m, v;
    const bool rounded = masters.has(i);
    if (!values.take(env, i, held, value) || (rounded && !masters.take(env, i, held, master)) || !grads.take(env, i, held, grad) ||
        !first.take(env, i, held, m) || !second.take(env, i, held, v))
      return false;
    const int64_t size = value.bytes / (rounded ? 2 : 4);
    const bool narrow_grad = rounded && grad.bytes == size * 2;
    if (!check_bytes(env, i, "firstMoments", m, size * 4) || !check_bytes(env, i, "secondMoments", v, size * 4) ||
        !check_bytes(env, i, "grads", grad, size * (narrow_grad ? 2 : 4)) || (rounded && !check_bytes(env, i, "masters", master, size * 4)))
      return false;
    out = {static_cast<float*>(rounded ? master.data : value.data), narrow_grad ? nullptr : static_cast<float*>(grad.data),
           static_cast<float*>(m.data), static_cast<float*>(v.data), size, decay, rounded ? static_cast<uint16_t*>(value.data) : nullptr,
           narrow_grad ? static_cast<uint16_t*>(grad.data) : nullptr};
    for (const DeviceSlice* written : {&value, &m, &v}) add_range(ranges, written->data, written->bytes, true);
    if (rounded) add_range(ranges, master.data, master.bytes, true);
    add_range(ranges, grad.data, grad.bytes, false);
    return true;
  }
};

// (values, grads, firstMoments, secondMoments, masters, weightDecays): optimiser
Napi::Value create_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CudaApi* api = nullptr;
  TensorLists lists;
  if (!take_api(env, api) || !lists.fetch(info)) return env.Undefined();
  const std::size_t count = lists.values.size();
  View<double> decays;
  if (!take(info[5], "weightDecays", static_cast<int64_t>(count), decays)) return env.Undefined();
  std::unique_ptr<DeviceOptimizer> owner(new DeviceOptimizer());
  std::vector<AdamWTensor> tensors(count);
  std::vector<Range> ranges;
  for (std::size_t i = 0; i < count; i++)
    if (!lists.take(env, i, decays.data[i], owner->held, ranges, tensors[i])) return env.Undefined();
  if (!check_disjoint(env, ranges)) return env.Undefined();
  if (!owner->held.empty()) owner->call = owner->held.front()->call();
  CudaFailure failure{};
  const Status status = api->create_optimizer(&owner->call, tensors.data(), static_cast<int64_t>(count), &owner->optimizer, &failure);
  if (!check_status(env, "AdamW", status, failure)) return env.Undefined();
  Napi::Object object = Napi::Object::New(env);
  object.TypeTag(&optimizer_tag);
  const auto forget = [](napi_env, void* own, void*) { delete static_cast<DeviceOptimizer*>(own); };
  if (napi_wrap(env, object, owner.get(), forget, nullptr, nullptr) != napi_ok) {
    check_status(env, "AdamW", Status::out_of_memory);
    return env.Undefined();
  }
  owner.release();
  return object;
}

// False after throwing: another object, or disposed.
bool take_optimizer(Napi::Value value, DeviceOptimizer*& out) {
  void* own = nullptr;
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&optimizer_tag) || napi_unwrap(value.Env(), value, &own) != napi_ok)
    return throw_error(value.Env(), "ERR_INVALID_TYPE", "[native] optimizer: expected what createDeviceOptimizer returned.");
  out = static_cast<DeviceOptimizer*>(own);
  return out->optimizer != nullptr || throw_error(value.Env(), "ERR_DISPOSED", "[native] optimizer: it was disposed.");
}

// (optimizer, learningRate, beta1, beta2, eps, maxGradNorm): queued
Napi::Value step_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  DeviceOptimizer* own = nullptr;
  AdamWArgs args{};
  double max_norm = 0;
  args.grad_scale = 1;
  if (!take_optimizer(info[0], own) || !take_number(info[1], "learningRate", args.learning_rate) || !take_number(info[2], "beta1", args.beta1) ||
      !take_number(info[3], "beta2", args.beta2) || !take_number(info[4], "eps", args.eps) || !take_number(info[5], "maxGradNorm", max_norm))
    return env.Undefined();
  CudaFailure failure{};
  check_status(env, "AdamW", cuda_api()->optimizer_step(own->optimizer, &own->call, &args, max_norm, &failure), failure);
  return env.Undefined();
}

// (optimizer): [norm, updates so far, those left out, taken]. Waits.
Napi::Value result_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  DeviceOptimizer* own = nullptr;
  if (!take_optimizer(info[0], own)) return env.Undefined();
  CudaStepResult result{};
  CudaFailure failure{};
  if (!check_status(env, "AdamW", cuda_api()->optimizer_result(own->optimizer, &result, &failure), failure)) return env.Undefined();
  Napi::Array out = Napi::Array::New(env, 4);
  out.Set(0u, Napi::Number::New(env, result.norm));
  out.Set(1u, Napi::Number::New(env, static_cast<double>(result.step)));
  out.Set(2u, Napi::Number::New(env, static_cast<double>(result.skipped)));
  out.Set(3u, Napi::Boolean::New(env, result.taken));
  return out;
}

// (optimizer, step)
Napi::Value set_step_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  DeviceOptimizer* own = nullptr;
  int64_t step = 0;
  if (!take_optimizer(info[0], own) || !take_integer(info[1], "step", 0, int64_t{1} << 53, step)) return env.Undefined();
  CudaFailure failure{};
  check_status(env, "AdamW", cuda_api()->set_optimizer_step(own->optimizer, step, &failure), failure);
  return env.Undefined();
}

Napi::Value dispose_call(const Napi::CallbackInfo& info) {
  DeviceOptimizer* own = nullptr;
  if (take_optimizer(info[0], own)) own->drop();
  return info.Env().Undefined();
}

// (grads, bfloat16: Uint16Array of 0 and 1): number. Waits.
Napi::Value grad_norm_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CudaApi* api = nullptr;
  MemoryList grads;
  View<uint16_t> bfloat16;
  if (!take_api(env, api) || !grads.fetch(info[0], "grads") || !take(info[1], "bfloat16", static_cast<int64_t>(grads.size()), bfloat16))
    return env.Undefined();
  Held held;
  std::vector<AdamWTensor> tensors(grads.size());
  for (std::size_t i = 0; i < tensors.size(); i++) {
    DeviceSlice grad;
    if (!grads.take(env, i, held, grad)) return env.Undefined();
    tensors[i] = {};
    tensors[i].size = grad.bytes / (bfloat16.data[i] != 0 ? 2 : 4);
    if (bfloat16.data[i] != 0) tensors[i].bfloat16_grad = static_cast<uint16_t*>(grad.data);
    else tensors[i].grad = static_cast<float*>(grad.data);
  }
  const CudaCall call = held.empty() ? CudaCall{0, nullptr} : held.front()->call();
  double norm = 0;
  CudaFailure failure{};
  const Status status = api->grad_norm(&call, tensors.data(), static_cast<int64_t>(tensors.size()), &norm, &failure);
  return check_status(env, "gradNorm", status, failure) ? Napi::Number::New(env, norm) : env.Undefined();
}

}  // namespace

void register_cuda_optim(Napi::Env env, Napi::Object exports) {
  exports.Set("createDeviceOptimizer", Napi::Function::New(env, create_call, "createDeviceOptimizer"));
  exports.Set("stepDeviceOptimizer", Napi::Function::New(env, step_call, "stepDeviceOptimizer"));
  exports.Set("deviceOptimizerResult", Napi::Function::New(env, result_call, "deviceOptimizerResult"));
  exports.Set("setDeviceOptimizerStep", Napi::Function::New(env, set_step_call, "setDeviceOptimizerStep"));
  exports.Set("disposeDeviceOptimizer", Napi::Function::New(env, dispose_call, "disposeDeviceOptimizer"));
  exports.Set("deviceGradNorm", Napi::Function::New(env, grad_norm_call, "deviceGradNorm"));
}

}  // namespace echo::addon
