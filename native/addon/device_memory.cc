#include "device_memory.h"

#include <cstdio>
#include <new>
#include <string>
#include <utility>

#include "checked.h"
#include "register.h"

namespace echo::addon {
namespace {

// Random, so that no object of another addon passes for ours.
constexpr napi_type_tag memory_tag = {0x1b7c94e2d05f4a38, 0xa3e86f215c9d7b04};
constexpr napi_type_tag stream_tag = {0x5e2a70c18f6b4d93, 0x82d47e0bf9135ac6};

// What a handle and the views of it share: `memory` is null once it was disposed.
struct Shared {
  std::shared_ptr<DeviceAllocation> memory;
  int64_t told = 0;  // bytes that the garbage collector was told of

  void drop(Napi::Env env) {
    memory.reset();
    if (told > 0) Napi::MemoryManagement::AdjustExternalMemory(env, -std::exchange(told, 0));
  }
};

struct Handle {
  std::shared_ptr<Shared> shared;
  int64_t offset;
  int64_t bytes;
  bool is_view;
  napi_env env = nullptr;
  napi_ref object = nullptr;  // weak: what JavaScript holds
  Handle* next = nullptr;
  Handle** link = nullptr;  // what points at this one; null: it is in no list

  Handle(std::shared_ptr<Shared> shared, int64_t offset, int64_t bytes, bool is_view)
      : shared(std::move(shared)), offset(offset), bytes(bytes), is_view(is_view) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (link == nullptr) return;
    *link = next;
    if (next != nullptr) next->link = link;
  }

  void enter(Handle*& list) {
    next = list;
    if (next != nullptr) next->link = &next;
    link = &list;
    list = this;
  }
};

// Those of memory that was made here, in all environments of this thread.
thread_local Handle* owned_handles = nullptr;

template <typename T>
T* unwrap(Napi::Value value, const napi_type_tag& tag) {
  void* owner = nullptr;
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&tag) || napi_unwrap(value.Env(), value, &owner) != napi_ok) return nullptr;
  return static_cast<T*>(owner);
}

template <typename T>
Napi::Value wrap(Napi::Env env, const napi_type_tag& tag, std::unique_ptr<T> owner, napi_finalize forget, napi_ref* weak = nullptr) {
  Napi::Object object = Napi::Object::New(env);
  object.TypeTag(&tag);
  if (napi_wrap(env, object, owner.get(), forget, nullptr, weak) != napi_ok) {
    check_status(env, "DeviceTensor", Status::out_of_memory);
    return env.Undefined();
  }
  owner.release();
  return object;
}

Napi::Value memory_object(Napi::Env env, std::shared_ptr<Shared> shared, int64_t offset, int64_t bytes, bool is_view) {
  const auto forget = [](napi_env env, void* owner, void*) {
    const std::unique_ptr<Handle> handle(static_cast<Handle*>(owner));
    napi_delete_reference(env, handle->object);
    if (!handle->is_view) handle->shared->drop(env);
  };
  const uint64_t address = reinterpret_cast<uintptr_t>(shared->memory->data()) + static_cast<uint64_t>(offset);
  std::unique_ptr<Handle> owner(new Handle(std::move(shared), offset, bytes, is_view));
  Handle* const handle = owner.get();
  napi_ref weak = nullptr;
  const Napi::Value object = wrap(env, memory_tag, std::move(owner), forget, &weak);
  if (!object.IsObject()) return object;
  handle->env = env;
  handle->object = weak;
  if (!is_view && handle->shared->told > 0) handle->enter(owned_handles);
  object.As<Napi::Object>().Set("pointer", Napi::BigInt::New(env, address));
  return object;
}

// Frees what JavaScript has lost, at once: finalisers run in a later turn of the event loop, to which a loop that allocates may never come, and
// the collector, left alone, marks in the background for as long as it takes. Whether there was any.
bool free_unreachable(Napi::Env env) {
  if (owned_handles == nullptr) return false;
  // Beyond what V8 tolerates of external memory it collects everything before this returns.
  constexpr int64_t too_much = int64_t{1} << 50;
  Napi::MemoryManagement::AdjustExternalMemory(env, too_much);
  Napi::MemoryManagement::AdjustExternalMemory(env, -too_much);
  bool any = false;
  for (Handle* handle = owned_handles; handle != nullptr; handle = handle->next) {
    const Napi::HandleScope scope(env);
    napi_value object = nullptr;
    if (handle->env != static_cast<napi_env>(env) || handle->shared->memory == nullptr) continue;
    if (napi_get_reference_value(env, handle->object, &object) != napi_ok || object != nullptr) continue;
    handle->shared->drop(env);
    any = true;
  }
  return any;
}

bool take_device(Napi::Value value, int64_t& out) { return take_integer(value, "device", 0, 1023, out); }

bool take_address(Napi::Value value, const char* name, void*& out) {
  bool lossless = false;
  const uint64_t address = value.IsBigInt() ? value.As<Napi::BigInt>().Uint64Value(&lossless) : 0;
  if (!lossless) return throw_error(value.Env(), "ERR_INVALID_TYPE", std::string("[native] ") + name + ": expected a BigInt of 64 bits.");
  out = reinterpret_cast<void*>(static_cast<uintptr_t>(address));
  return true;
}

bool take_api(Napi::Env env, const CudaApi*& api) {
  api = cuda_api();
  return api != nullptr || throw_error(env, "ERR_CUDA_UNAVAILABLE", "[native] CUDA: no library is open.");
}

// A handle of createDeviceStream, the address of someone else's stream, or null: the device's default stream.
bool take_stream(Napi::Value value, int64_t device, std::shared_ptr<DeviceStream>& out) {
  void* foreign = nullptr;
  if (const auto* own = unwrap<std::shared_ptr<DeviceStream>>(value, stream_tag)) {
    if (*own == nullptr) return throw_error(value.Env(), "ERR_DISPOSED", "[native] stream: it was disposed.");
    out = *own;
    return out->call().device == device || throw_error(value.Env(), "ERR_UNSUPPORTED", "[native] stream: it is one of another device.");
  }
  if (!value.IsNull() && !take_address(value, "stream", foreign)) return false;
  out = std::make_shared<DeviceStream>(CudaCall{static_cast<int32_t>(device), foreign}, false);
  return true;
}

// (device): stream
Napi::Value create_stream_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CudaApi* api = nullptr;
  int64_t device = 0;
  if (!take_api(env, api) || !take_device(info[0], device)) return env.Undefined();
  void* stream = nullptr;
  CudaFailure failure{};
  if (!check_status(env, "DeviceStream", api->create_stream(static_cast<int32_t>(device), &stream, &failure), failure)) return env.Undefined();
  const CudaCall call{static_cast<int32_t>(device), stream};
  std::unique_ptr<std::shared_ptr<DeviceStream>> owner(new std::shared_ptr<DeviceStream>(std::make_shared<DeviceStream>(call, true)));
  const Napi::Value object = wrap(env, stream_tag, std::move(owner), [](napi_env, void* own, void*) {
    delete static_cast<std::shared_ptr<DeviceStream>*>(own);
  });
  if (object.IsObject()) object.As<Napi::Object>().Set("pointer", Napi::BigInt::New(env, static_cast<uint64_t>(reinterpret_cast<uintptr_t>(stream))));
  return object;
}

// The stream goes with the last tensor on it.
Napi::Value dispose_stream_call(const Napi::CallbackInfo& info) {
  auto* const own = unwrap<std::shared_ptr<DeviceStream>>(info[0], stream_tag);
  if (own == nullptr) throw_error(info.Env(), "ERR_INVALID_TYPE", "[native] stream: expected what createDeviceStream returned.");
  else own->reset();
  return info.Env().Undefined();
}

// (device, stream | bigint | null)
Napi::Value synchronize_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CudaApi* api = nullptr;
  int64_t device = 0;
  std::shared_ptr<DeviceStream> stream;
  if (!take_api(env, api) || !take_device(info[0], device) || !take_stream(info[1], device, stream)) return env.Undefined();
  CudaFailure failure{};
  check_status(env, "synchronize", api->synchronize(&stream->call(), &failure), failure);
  return env.Undefined();
}

constexpr int64_t most_bytes = int64_t{1} << 46;

void tell_sizes(const CudaApi& api, int32_t device, int64_t bytes, CudaFailure* failure) {
  CudaDevice found{};
  CudaFailure ignored{};
  if (api.describe(device, &found, &ignored) != Status::ok) return;
  std::snprintf(failure->message, sizeof failure->message, "out of memory: expected %lld bytes of device %d, got %lld free of %lld; dispose of what is no longer used",
                static_cast<long long>(bytes), device, static_cast<long long>(found.free_bytes), static_cast<long long>(found.memory_bytes));
}

// (device, stream | bigint | null, bytes): memory, zeroed
Napi::Value create_memory_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CudaApi* api = nullptr;
  int64_t device = 0, bytes = 0;
  std::shared_ptr<DeviceStream> stream;
  if (!take_api(env, api) || !take_device(info[0], device) || !take_stream(info[1], device, stream) ||
      !take_integer(info[2], "bytes", 1, most_bytes, bytes))
    return env.Undefined();
  void* data = nullptr;
  CudaFailure failure{};
  Status status = api->allocate(&stream->call(), bytes, &data, &failure);
  if (status == Status::out_of_memory && free_unreachable(env)) status = api->allocate(&stream->call(), bytes, &data, &failure);
  if (status == Status::out_of_memory) tell_sizes(*api, stream->call().device, bytes, &failure);
  if (!check_status(env, "DeviceTensor", status, failure)) return env.Undefined();
  auto shared = std::make_shared<Shared>();
  shared->memory = std::make_shared<DeviceAllocation>(stream, data, bytes, true);
  if (!check_status(env, "DeviceTensor", api->fill_zero(&stream->call(), data, bytes, &failure), failure)) return env.Undefined();
  Napi::MemoryManagement::AdjustExternalMemory(env, bytes);
  shared->told = bytes;
  return memory_object(env, std::move(shared), 0, bytes, false);
}

// (device, stream | bigint | null, address, bytes): memory, or what the address is instead: { memory, device }
Napi::Value foreign_memory_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const CudaApi* api = nullptr;
  int64_t device = 0, bytes = 0;
  void* data = nullptr;
  std::shared_ptr<DeviceStream> stream;
  if (!take_api(env, api) || !take_device(info[0], device) || !take_stream(info[1], device, stream) || !take_address(info[2], "ptr", data) ||
      !take_integer(info[3], "bytes", 1, most_bytes, bytes))
    return env.Undefined();
  for (const char* address : {static_cast<const char*>(data), static_cast<const char*>(data) + (bytes - 1)}) {
    CudaPointer found{};
    CudaFailure failure{};
    if (!check_status(env, "DeviceTensor.foreign", api->inspect(address, &found, &failure), failure)) return env.Undefined();
    const bool on_device = found.memory == CudaMemory::device || found.memory == CudaMemory::managed;
    if (on_device && found.device == device) continue;
    const std::string got = on_device ? "memory of device " + std::to_string(found.device)
                                      : found.memory == CudaMemory::host ? "memory of the host" : "an address that CUDA does not know";
    throw_error(env, "ERR_UNSUPPORTED", "[native] ptr: expected " + std::to_string(bytes) + " bytes of device " + std::to_string(device) + ", got " + got +
                                            (address == data ? "." : " at their end."));
    return env.Undefined();
  }
  auto shared = std::make_shared<Shared>();
  shared->memory = std::make_shared<DeviceAllocation>(std::move(stream), data, bytes, false);
  return memory_object(env, std::move(shared), 0, bytes, false);
}

bool take_handle(Napi::Value value, const char* name, Handle*& out) {
  out = unwrap<Handle>(value, memory_tag);
  if (out == nullptr)
    return throw_error(value.Env(), "ERR_INVALID_TYPE", std::string("[native] ") + name + ": expected what createDeviceMemory returned.");
  return out->shared->memory != nullptr || throw_error(value.Env(), "ERR_DISPOSED", std::string("[native] ") + name + ": it was disposed.");
}

// (memory, byteOffset, bytes): a part of it, which is gone when it is
Napi::Value view_memory_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Handle* handle = nullptr;
  int64_t offset = 0, bytes = 0;
  if (!take_handle(info[0], "memory", handle) || !take_integer(info[1], "byteOffset", 0, handle->bytes, offset) ||
      !take_integer(info[2], "bytes", 1, handle->bytes - offset, bytes))
    return env.Undefined();
  const Napi::Value view = memory_object(env, handle->shared, handle->offset + offset, bytes, true);
  // The whole is not collected before its parts.
  if (view.IsObject()) view.As<Napi::Object>().Set("whole", info[0]);
  return view;
}

// Frees it, once no job works on it; parts of it are gone too. Of a part: nothing.
Napi::Value dispose_memory_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Handle* const handle = unwrap<Handle>(info[0], memory_tag);
  if (handle == nullptr) throw_error(env, "ERR_INVALID_TYPE", "[native] memory: expected what createDeviceMemory returned.");
  else if (!handle->is_view) handle->shared->drop(env);
  return env.Undefined();
}

bool take_bytes(Napi::Value value, const char* name, int64_t bytes, void*& out) {
  View<float> wide;
  View<uint16_t> narrow;
  const bool is_wide = value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_float32_array;
  const int64_t size = is_wide ? 4 : 2;
  if (bytes % size != 0) return throw_error(value.Env(), "ERR_INVALID_SHAPE", std::string("[native] ") + name + ": expected another element size.");
  if (is_wide ? !take(value, name, bytes / size, wide) : !take(value, name, bytes / size, narrow)) return false;
  out = is_wide ? static_cast<void*>(wide.data) : narrow.data;
  return true;
}

// (memory, array): the array's bytes into the memory
Napi::Value write_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  DeviceSlice slice;
  void* host = nullptr;
  if (!take_device_memory(info[0], "memory", slice) || !take_bytes(info[1], "values", slice.bytes, host)) return env.Undefined();
  CudaFailure failure{};
  check_status(env, "DeviceTensor.copyFrom", cuda_api()->copy_from_host(&slice.memory->call(), slice.data, host, slice.bytes, &failure), failure);
  return env.Undefined();
}

// (memory, array): the memory into the array; waits
Napi::Value read_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  DeviceSlice slice;
  void* host = nullptr;
  if (!take_device_memory(info[0], "memory", slice) || !take_bytes(info[1], "out", slice.bytes, host)) return env.Undefined();
  CudaFailure failure{};
  check_status(env, "DeviceTensor.copyTo", cuda_api()->copy_to_host(&slice.memory->call(), host, slice.data, slice.bytes, &failure), failure);
  return env.Undefined();
}

// (to, from): of one size, device and stream; queued
Napi::Value copy_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  DeviceSlice to, from;
  if (!take_device_memory(info[0], "to", to) || !take_device_memory(info[1], "from", from)) return env.Undefined();
  const CudaCall &there = to.memory->call(), &here = from.memory->call();
  if (to.bytes != from.bytes || there.device != here.device || there.stream != here.stream) {
    throw_error(env, "ERR_UNSUPPORTED", "[native] from: expected memory of the same size, device and stream.");
    return env.Undefined();
  }
  CudaFailure failure{};
  check_status(env, "DeviceTensor.copyFrom", cuda_api()->copy_on_device(&there, to.data, from.data, to.bytes, &failure), failure);
  return env.Undefined();
}

}  // namespace

DeviceStream::~DeviceStream() {
  CudaFailure failure{};
  if (owned_) cuda_api()->destroy_stream(&call_, &failure);
}

DeviceAllocation::~DeviceAllocation() {
  CudaFailure failure{};
  if (owned_) cuda_api()->release(&call(), data_, &failure);
}

bool is_device_memory(Napi::Value value) { return unwrap<Handle>(value, memory_tag) != nullptr; }

bool take_device_memory(Napi::Value value, const char* name, DeviceSlice& out) {
  Handle* handle = nullptr;
  if (!take_handle(value, name, handle)) return false;
  const std::shared_ptr<DeviceAllocation>& memory = handle->shared->memory;
  out = {memory, static_cast<char*>(memory->data()) + handle->offset, handle->bytes};
  return true;
}

bool Place::take(Napi::Value value, const char* name, Dtype type, int64_t count, void*& out) {
  const Napi::Env env = value.Env();
  if (!is_device_memory(value)) {
    View<float> wide;
    View<uint16_t> narrow;
    const bool is_wide = type == Dtype::float32;
    if (is_wide ? !addon::take(value, name, count, wide) : !addon::take(value, name, count, narrow)) return false;
    out = is_wide ? static_cast<void*>(wide.data) : narrow.data;
    has_host_ = true;
  } else {
    DeviceSlice slice;
    if (!take_device_memory(value, name, slice)) return false;
    if (slice.bytes != count * dtype_size(type))
      return throw_error(env, "ERR_INVALID_SHAPE", std::string("[native] ") + name + ": expected " + std::to_string(count * dtype_size(type)) +
                                                       " bytes, got " + std::to_string(slice.bytes) + ".");
    const CudaCall& call = slice.memory->call();
    if (on_device() && (call.device != held_.front()->call().device || call.stream != held_.front()->call().stream))
      return throw_error(env, "ERR_UNSUPPORTED", std::string("[native] ") + name + ": expected the device and stream of the other tensors.");
    out = slice.data;
    held_.push_back(std::move(slice.memory));
  }
  if ((has_host_ || uploads_) && on_device())
    return throw_error(env, "ERR_UNSUPPORTED", std::string("[native] ") + name + ": expected all tensors on a device or none.");
  return true;
}

bool Place::upload(Napi::Env env) {
  const CudaApi* api = nullptr;
  if (!take_api(env, api)) return false;
  uploads_ = true;
  return true;
}

void register_device_memory(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*call)(const Napi::CallbackInfo&)) { exports.Set(name, Napi::Function::New(env, call, name)); };
  add("createDeviceStream", create_stream_call);
  add("disposeDeviceStream", dispose_stream_call);
  add("synchronizeDevice", synchronize_call);
  add("createDeviceMemory", create_memory_call);
  add("foreignDeviceMemory", foreign_memory_call);
  add("viewDeviceMemory", view_memory_call);
  add("disposeDeviceMemory", dispose_memory_call);
  add("writeDevice", write_call);
  add("readDevice", read_call);
  add("copyDevice", copy_call);
}

}  // namespace echo::addon
