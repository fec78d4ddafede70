#include "host_memory.h"

#include <cstdint>
#include <new>

#include "checked.h"
#include "register.h"

namespace echo::addon {
namespace {

// Random, so that no object of another addon passes for ours.
constexpr napi_type_tag tag = {0x6d1f0a3c5b7e4921, 0x94c2e8d07a1b5f63};

// { buffer } over `bytes` zeroed bytes, 64-byte aligned; null where this Node allows no ArrayBuffer over foreign memory. The collector knows of the
// memory through `buffer`.
Napi::Value create_host_memory(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  int64_t bytes = 0;
  if (!take_integer(info[0], "bytes", 1, int64_t{1} << 46, bytes)) return env.Undefined();
  HostMemory memory = std::make_shared<Buffer<uint8_t>>();
  if (!memory->reserve(bytes)) {
    check_status(env, "HostTensor", Status::out_of_memory);
    return env.Undefined();
  }
  HostMemory* const behind_buffer = new HostMemory(memory);
  const auto drop = [](napi_env, void*, void* owner) { delete static_cast<HostMemory*>(owner); };
  napi_value buffer = nullptr;
  const napi_status status =
      napi_create_external_arraybuffer(env, memory->data(), static_cast<size_t>(bytes), drop, behind_buffer, &buffer);
  if (status != napi_ok) {
    delete behind_buffer;
    if (status == napi_no_external_buffers_allowed) return env.Null();
    check_status(env, "HostTensor", Status::out_of_memory);
    return env.Undefined();
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("buffer", Napi::Value(env, buffer));
  object.TypeTag(&tag);
  HostMemory* const behind_object = new HostMemory(std::move(memory));
  const auto forget = [](napi_env, void* owner, void*) { delete static_cast<HostMemory*>(owner); };
  if (napi_wrap(env, object, behind_object, forget, nullptr, nullptr) != napi_ok) {
    delete behind_object;
    check_status(env, "HostTensor", Status::out_of_memory);
    return env.Undefined();
  }
  return object;
}

HostMemory* unwrap(Napi::Value value) {
  void* owner = nullptr;
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&tag) || napi_unwrap(value.Env(), value, &owner) != napi_ok) return nullptr;
  return static_cast<HostMemory*>(owner);
}

// Detaches the view. The memory goes with the last job on it.
Napi::Value dispose_host_memory(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  HostMemory* const memory = unwrap(info[0]);
  if (memory == nullptr) {
    throw_error(env, "ERR_INVALID_TYPE", "[native] memory: expected what createHostMemory returned.");
    return env.Undefined();
  }
  memory->reset();
  const Napi::Value buffer = info[0].As<Napi::Object>().Get("buffer");
  if (buffer.IsArrayBuffer() && !buffer.As<Napi::ArrayBuffer>().IsDetached()) buffer.As<Napi::ArrayBuffer>().Detach();
  return env.Undefined();
}

}  // namespace

bool take_host_memory(Napi::Value value, HostMemory& out) {
  const HostMemory* const memory = unwrap(value);
  if (memory == nullptr)
    return throw_error(value.Env(), "ERR_INVALID_TYPE", "[native] memory: expected what createHostMemory returned.");
  if (*memory == nullptr) return throw_error(value.Env(), "ERR_DETACHED", "[native] memory: it was disposed.");
  out = *memory;
  return true;
}

bool HeldArray::hold(Napi::Value memory_value, Napi::TypedArray array, const void* data, int64_t bytes) {
  const Napi::Env env = array.Env();
  if (memory_value.IsNull()) {
    const Napi::Value buffer = array.ArrayBuffer();
    if (buffer.IsArrayBuffer())
      return throw_error(env, "ERR_UNSUPPORTED", "[native] logits: expected a SharedArrayBuffer or the addon's own memory.");
    shared = Napi::Persistent(buffer.As<Napi::Object>());
    return true;
  }
  if (!take_host_memory(memory_value, memory)) return false;
  const uint8_t* const begin = static_cast<const uint8_t*>(data);
  if (bytes == 0 || (begin >= memory->data() && begin + bytes <= memory->data() + memory->capacity())) return true;
  return throw_error(env, "ERR_UNSUPPORTED", "[native] logits: they do not lie in the memory that was given.");
}

void register_host_memory(Napi::Env env, Napi::Object exports) {
  exports.Set("createHostMemory", Napi::Function::New(env, create_host_memory, "createHostMemory"));
  exports.Set("disposeHostMemory", Napi::Function::New(env, dispose_host_memory, "disposeHostMemory"));
}

}  // namespace echo::addon
