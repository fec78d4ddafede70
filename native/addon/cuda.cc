// The CUDA library itself: opened, asked what there is; and reading device memory away from the calling thread.
#include <cstdint>
#include <memory>
#include <new>
#include <string>

#include "async.h"
#include "checked.h"
#include "cuda_library.h"
#include "device_memory.h"
#include "host_memory.h"
#include "register.h"

namespace echo::addon {
namespace {

// (path): null, or [reason, problem]
Napi::Value open_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString()) {
    throw_error(env, "ERR_INVALID_TYPE", "[native] path: expected a string.");
    return env.Undefined();
  }
  const CudaOpened opened = open_cuda_library(info[0].As<Napi::String>().Utf8Value());
  if (opened.state == CudaOpening::open) return env.Null();
  Napi::Array failure = Napi::Array::New(env, 2);
  failure.Set(0u, Napi::String::New(env, opened.state == CudaOpening::other_version ? "abi-mismatch" : "load-failed"));
  failure.Set(1u, Napi::String::New(env, opened.problem));
  return failure;
}

Napi::Value error_object(Napi::Env env, Status status, const CudaFailure& failure) {
  if (status == Status::ok) return env.Null();
  Napi::Object object = Napi::Object::New(env);
  object.Set("code", Napi::Number::New(env, failure.code));
  object.Set("name", Napi::String::New(env, failure.name));
  object.Set("message", Napi::String::New(env, failure.message));
  return object;
}

// (): { driver, runtime, devices, error: { code, name, message } | null }
Napi::Value probe_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CudaApi* const api = cuda_api();
  if (api == nullptr) {
    throw_error(env, "ERR_CUDA_UNAVAILABLE", "[native] CUDA: no library is open.");
    return env.Undefined();
  }
  CudaVersions versions{};
  CudaFailure failure{};
  const Status status = api->probe(&versions, &failure);
  Napi::Object out = Napi::Object::New(env);
  out.Set("driver", Napi::Number::New(env, versions.driver));
  out.Set("runtime", Napi::Number::New(env, versions.runtime));
  out.Set("devices", Napi::Number::New(env, versions.devices));
  out.Set("error", error_object(env, status, failure));
  return out;
}

// (device): { name, computeCapability, multiprocessors, memoryBytes, freeBytes, heldBytes, error }
Napi::Value describe_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CudaApi* const api = cuda_api();
  int64_t device = 0;
  if (api == nullptr) throw_error(env, "ERR_CUDA_UNAVAILABLE", "[native] CUDA: no library is open.");
  if (api == nullptr || !take_integer(info[0], "device", 0, 1023, device)) return env.Undefined();
  CudaDevice description{};
  CudaFailure failure{};
  const Status status = api->describe(static_cast<int32_t>(device), &description, &failure);
  Napi::Object out = Napi::Object::New(env);
  out.Set("name", Napi::String::New(env, description.name));
  out.Set("computeCapability", Napi::Number::New(env, description.compute_capability));
  out.Set("multiprocessors", Napi::Number::New(env, description.multiprocessors));
  out.Set("memoryBytes", Napi::Number::New(env, static_cast<double>(description.memory_bytes)));
  out.Set("freeBytes", Napi::Number::New(env, static_cast<double>(description.free_bytes)));
  out.Set("heldBytes", Napi::Number::New(env, static_cast<double>(description.held_bytes)));
  out.Set("error", error_object(env, status, failure));
  return out;
}

class ReadJob final : public AsyncJob {
 public:
  using AsyncJob::AsyncJob;

  // False after throwing.
  bool prepare(const Napi::CallbackInfo& info) {
    if (!take_device_memory(info[0], "memory", from_)) return false;
    View<float> wide;
    View<uint16_t> narrow;
    const bool is_wide = info[1].IsTypedArray() && info[1].As<Napi::TypedArray>().TypedArrayType() == napi_float32_array;
    const int64_t length = from_.bytes / (is_wide ? 4 : 2);
    if (is_wide ? !take(info[1], "out", length, wide) : !take(info[1], "out", length, narrow)) return false;
    to_ = is_wide ? static_cast<void*>(wide.data) : narrow.data;
    return held_.hold(info[2], info[1].As<Napi::TypedArray>(), to_, length * (is_wide ? 4 : 2));
  }

  void run() override { status_ = cuda_api()->copy_to_host(&from_.memory->call(), to_, from_.data, from_.bytes, &failure_); }

  void deliver(Napi::Env env) override {
    if (status_ != Status::ok) return fail(env, "DeviceTensor.copyToAsync", status_, failure_);
    done_.Call({env.Null()});
  }

 private:
  DeviceSlice from_{};
  HeldArray held_;
  void* to_ = nullptr;
  Status status_ = Status::ok;
  CudaFailure failure_{};
};

// (memory, array, host memory | null, done): ticket
Napi::Value read_async_call(const Napi::CallbackInfo& info) { return submit_job<ReadJob>(info, 3); }

}  // namespace

void register_cuda(Napi::Env env, Napi::Object exports) {
  exports.Set("openCuda", Napi::Function::New(env, open_call, "openCuda"));
  exports.Set("probeCuda", Napi::Function::New(env, probe_call, "probeCuda"));
  exports.Set("describeCuda", Napi::Function::New(env, describe_call, "describeCuda"));
  exports.Set("readDeviceAsync", Napi::Function::New(env, read_async_call, "readDeviceAsync"));
}

}  // namespace echo::addon
