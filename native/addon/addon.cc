#include <napi.h>

#include "../core/thread_pool.h"
#include "register.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  // Node unloads the library when the last worker_thread that loaded it ends; no thread of ours may be left inside.
  env.AddCleanupHook([] { echo::stop_threads(); });
  exports.Set("abiVersion", Napi::Number::New(env, echo::addon::abi_version));
  echo::addon::register_core(env, exports);
  echo::addon::register_loss(env, exports);
  echo::addon::register_gemm(env, exports);
  echo::addon::register_linear_loss(env, exports);
  echo::addon::register_decoder(env, exports);
  echo::addon::register_optim(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(echo_grpo, init)
