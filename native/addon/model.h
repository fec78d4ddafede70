// What the decoder's and the sampler's files share.
#pragma once

#include <napi.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "../model/decoder.h"
#include "checked.h"

namespace echo::addon {

inline std::string at(const char* name, int64_t index) { return std::string(name) + "[" + std::to_string(index) + "]"; }

inline bool out_of_range(Napi::Env env, const std::string& what, const std::string& expected, const std::string& got) {
  return throw_error(env, "ERR_OUT_OF_RANGE", "[native decoder] " + what + ": expected " + expected + ", got " + got + ".");
}

inline bool take_temperature(Napi::Value value, float& out) {
  double number = 0;
  if (!take_number(value, "temperature", number)) return false;
  out = static_cast<float>(number);
  if (!(out > 0) || !std::isfinite(out) || !std::isfinite(1.0f / out))
    return out_of_range(value.Env(), "temperature", "a finite number > 0", std::to_string(number));
  return true;
}

inline bool check_ids(Napi::Env env, const char* name, const View<int32_t>& ids, int64_t vocab) {
  for (int64_t i = 0; i < ids.length; i++)
    if (ids.data[i] < 0 || ids.data[i] >= vocab)
      return out_of_range(env, at(name, i), "a token from 0 to " + std::to_string(vocab - 1), std::to_string(ids.data[i]));
  return true;
}

// Tells the garbage collector of memory it cannot see, for as long as it lives.
class ExternalMemory {
 public:
  ExternalMemory(Napi::Env env, int64_t bytes) : env_(env), bytes_(bytes) { Napi::MemoryManagement::AdjustExternalMemory(env_, bytes_); }
  ExternalMemory(const ExternalMemory&) = delete;
  ExternalMemory& operator=(const ExternalMemory&) = delete;
  ~ExternalMemory() { Napi::MemoryManagement::AdjustExternalMemory(env_, -bytes_); }

 private:
  Napi::Env env_;
  int64_t bytes_;
};

template <typename Callable>
void method(Napi::Env env, Napi::Object object, const char* name, Callable callable) {
  object.Set(name, Napi::Function::New(env, std::move(callable), name));
}

// sampler.cc
Napi::Value create_sampler(const Napi::CallbackInfo& info, const std::shared_ptr<Decoder>& decoder);

}  // namespace echo::addon
