// Each operation's file adds its functions to `exports`.
#pragma once

#include <napi.h>

namespace echo::addon {

// Raised whenever a function's arguments or meaning change; lib/native/load.ts refuses another number.
inline constexpr int abi_version = 4;

void register_core(Napi::Env env, Napi::Object exports);
void register_async(Napi::Env env, Napi::Object exports);
void register_host_memory(Napi::Env env, Napi::Object exports);
void register_cuda(Napi::Env env, Napi::Object exports);
void register_device_memory(Napi::Env env, Napi::Object exports);
void register_loss(Napi::Env env, Napi::Object exports);
void register_loss_async(Napi::Env env, Napi::Object exports);
void register_gemm(Napi::Env env, Napi::Object exports);
void register_linear_loss(Napi::Env env, Napi::Object exports);
void register_decoder(Napi::Env env, Napi::Object exports);
void register_optim(Napi::Env env, Napi::Object exports);
void register_cuda_optim(Napi::Env env, Napi::Object exports);

}  // namespace echo::addon
