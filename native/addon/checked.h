// Checks that stand between JavaScript values and raw memory. Each returns false after throwing; callers return at once.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>

#include "../core/dtype.h"
#include "../core/status.h"
#include "../cuda/api.h"

namespace echo::addon {

inline bool throw_error(Napi::Env env, const char* code, const std::string& message) {
  Napi::Error error = Napi::TypeError::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  error.ThrowAsJavaScriptException();
  return false;
}

template <typename T>
struct View {
  T* data = nullptr;
  int64_t length = 0;
};

template <typename T>
napi_typedarray_type typed_array_type();
template <>
inline napi_typedarray_type typed_array_type<float>() { return napi_float32_array; }
template <>
inline napi_typedarray_type typed_array_type<double>() { return napi_float64_array; }
template <>
inline napi_typedarray_type typed_array_type<int32_t>() { return napi_int32_array; }
template <>
inline napi_typedarray_type typed_array_type<uint16_t>() { return napi_uint16_array; }
template <>
inline napi_typedarray_type typed_array_type<uint64_t>() { return napi_biguint64_array; }

inline const char* type_name(napi_typedarray_type type) {
  switch (type) {
    case napi_float32_array: return "Float32Array";
    case napi_float64_array: return "Float64Array";
    case napi_int32_array: return "Int32Array";
    case napi_uint16_array: return "Uint16Array";
    case napi_biguint64_array: return "BigUint64Array";
    default: return "another typed array";
  }
}

// A typed array of exactly `T` over memory that cannot move: not detached, not resizable. length < 0: any length.
template <typename T>
bool take(Napi::Value value, const char* name, int64_t length, View<T>& out) {
  const Napi::Env env = value.Env();
  const napi_typedarray_type wanted = typed_array_type<T>();
  if (!value.IsTypedArray())
    return throw_error(env, "ERR_INVALID_TYPE", std::string("[native] ") + name + ": expected a " + type_name(wanted) + ".");
  const Napi::TypedArray array = value.As<Napi::TypedArray>();
  if (array.TypedArrayType() != wanted)
    return throw_error(env, "ERR_INVALID_DTYPE", std::string("[native] ") + name + ": expected a " + type_name(wanted) +
                                                     ", got " + type_name(array.TypedArrayType()) + ".");
  const Napi::ArrayBuffer buffer = array.ArrayBuffer();
  if (buffer.IsDetached())
    return throw_error(env, "ERR_DETACHED", std::string("[native] ") + name + ": its buffer was detached.");
  if (buffer.Get("resizable").ToBoolean().Value() || buffer.Get("growable").ToBoolean().Value())
    return throw_error(env, "ERR_UNSUPPORTED", std::string("[native] ") + name + ": its buffer is resizable.");
  const int64_t got = static_cast<int64_t>(array.ElementLength());
  if (length >= 0 && got != length)
    return throw_error(env, "ERR_INVALID_SHAPE", std::string("[native] ") + name + ": expected length " +
                                                     std::to_string(length) + ", got " + std::to_string(got) + ".");
  out.data = array.As<Napi::TypedArrayOf<T>>().Data();
  out.length = got;
  return true;
}

// The same, or null and undefined, which leave `out` empty.
template <typename T>
bool take_optional(Napi::Value value, const char* name, int64_t length, View<T>& out) {
  if (value.IsNull() || value.IsUndefined()) return true;
  return take(value, name, length, out);
}

inline bool take_object(Napi::Value value, const char* name, Napi::Object& out) {
  if (!value.IsObject())
    return throw_error(value.Env(), "ERR_INVALID_TYPE", std::string("[native] ") + name + ": expected an object.");
  out = value.As<Napi::Object>();
  return true;
}

inline bool take_dtype(Napi::Value value, const char* name, Dtype& out) {
  const std::string got = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  if (got == "float32") out = Dtype::float32;
  else if (got == "bfloat16") out = Dtype::bfloat16;
  else if (got == "float16") out = Dtype::float16;
  else
    return throw_error(value.Env(), "ERR_INVALID_DTYPE",
                       std::string("[native] ") + name + ": expected float32, bfloat16 or float16.");
  return true;
}

inline bool take_number(Napi::Value value, const char* name, double& out) {
  if (!value.IsNumber())
    return throw_error(value.Env(), "ERR_INVALID_TYPE", std::string("[native] ") + name + ": expected a number.");
  out = value.As<Napi::Number>().DoubleValue();
  return true;
}

// A whole number in [low, high].
inline bool take_integer(Napi::Value value, const char* name, int64_t low, int64_t high, int64_t& out) {
  double number = 0;
  if (!take_number(value, name, number)) return false;
  if (!(number >= static_cast<double>(low) && number <= static_cast<double>(high)) ||
      number != static_cast<double>(static_cast<int64_t>(number)))
    return throw_error(value.Env(), "ERR_OUT_OF_RANGE", std::string("[native] ") + name + ": expected a whole number from " +
                                                            std::to_string(low) + " to " + std::to_string(high) + ".");
  out = static_cast<int64_t>(number);
  return true;
}

struct StatusError {
  const char* code;
  std::string message;
};

// What a failure is called in JavaScript.
inline StatusError status_error(const char* where, Status status) {
  const std::string at = std::string("[native] ") + where + ": ";
  if (status == Status::target_out_of_range) return {"ERR_OUT_OF_RANGE", at + "a target is outside [0, vocab)."};
  const char* text = status == Status::out_of_memory ? "out of memory" : status == Status::unsupported ? "unsupported" : "invalid argument";
  return {"ERR_NATIVE_STATUS", at + text + "."};
}

// What a failure of the CUDA library is called there.
inline StatusError cuda_error(const char* where, Status status, const CudaFailure& failure) {
  const std::string at = std::string("[native] ") + where + ": ";
  if (status == Status::target_out_of_range) return {"ERR_OUT_OF_RANGE", at + failure.message + "."};
  const char* code = status == Status::out_of_memory ? "ERR_CUDA_OUT_OF_MEMORY" : status == Status::unsupported ? "ERR_CUDA_UNSUPPORTED" : "ERR_CUDA";
  return {code, at + failure.name + ": " + failure.message + "."};
}

// `failure`: of the CUDA library, its status `ok` where it was not called.
inline bool check_status(Napi::Env env, const char* where, Status status, const CudaFailure& failure = {}) {
  if (status == Status::ok) return true;
  const StatusError error = failure.status == Status::ok ? status_error(where, status) : cuda_error(where, status, failure);
  return throw_error(env, error.code, error.message);
}

}  // namespace echo::addon
