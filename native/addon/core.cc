#include "../core/isa.h"

#include <string>

#include "../core/dispatcher.h"
#include "../core/thread_pool.h"
#include "register.h"

namespace echo::addon {
namespace {

constexpr Isa all_isas[] = {Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512bf16, Isa::neon};

Napi::Value isa(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), isa_name(active_isa())); }

Napi::Value supported_isas(const Napi::CallbackInfo& info) {
  Napi::Array names = Napi::Array::New(info.Env());
  for (const Isa candidate : all_isas)
    if (isa_supported(candidate)) names.Set(names.Length(), Napi::String::New(info.Env(), isa_name(candidate)));
  return names;
}

// False: no such tier, or this machine cannot run it.
Napi::Value set_isa(const Napi::CallbackInfo& info) {
  if (info.Length() < 1 || !info[0].IsString()) return Napi::Boolean::New(info.Env(), false);
  const std::string name = info[0].As<Napi::String>().Utf8Value();
  for (const Isa candidate : all_isas)
    if (name == isa_name(candidate)) return Napi::Boolean::New(info.Env(), set_active_isa(candidate));
  return Napi::Boolean::New(info.Env(), false);
}

Napi::Value threads(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), thread_count()); }

Napi::Value set_threads(const Napi::CallbackInfo& info) {
  if (info.Length() < 1 || !info[0].IsNumber()) return Napi::Boolean::New(info.Env(), false);
  const double n = info[0].As<Napi::Number>().DoubleValue();
  if (!(n >= 1 && n <= 256) || n != static_cast<int>(n)) return Napi::Boolean::New(info.Env(), false);
  // A job has scratch for each of the workers it counted when it began.
  const DispatcherPause pause;
  set_thread_count(static_cast<int>(n));
  return Napi::Boolean::New(info.Env(), true);
}

}  // namespace

void register_core(Napi::Env env, Napi::Object exports) {
  exports.Set("isa", Napi::Function::New(env, isa, "isa"));
  exports.Set("supportedIsas", Napi::Function::New(env, supported_isas, "supportedIsas"));
  exports.Set("setIsa", Napi::Function::New(env, set_isa, "setIsa"));
  exports.Set("threads", Napi::Function::New(env, threads, "threads"));
  exports.Set("setThreads", Napi::Function::New(env, set_threads, "setThreads"));
}

}  // namespace echo::addon
