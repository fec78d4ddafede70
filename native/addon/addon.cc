#include <napi.h>

#include <mutex>

#include "../core/dispatcher.h"
#include "../core/thread_pool.h"
#include "register.h"

namespace {

// Environments that have loaded the addon. Never destroyed: a worker may end while the process does.
struct Environments {
  std::mutex mutex;
  int count = 0;
};

Environments& environments() {
  static Environments* const instance = new Environments();
  return *instance;
}

// Node unloads the library when the last worker_thread that loaded it ends; no thread of ours may be left inside.
void leave() {
  Environments& all = environments();
  const std::lock_guard<std::mutex> lock(all.mutex);
  if (--all.count > 0) return;
  echo::stop_dispatcher();
  echo::stop_threads();
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  {
    Environments& all = environments();
    const std::lock_guard<std::mutex> lock(all.mutex);
    all.count++;
  }
  env.AddCleanupHook(leave);
  exports.Set("abiVersion", Napi::Number::New(env, echo::addon::abi_version));
  echo::addon::register_core(env, exports);
  echo::addon::register_async(env, exports);
  echo::addon::register_host_memory(env, exports);
  echo::addon::register_cuda(env, exports);
  echo::addon::register_device_memory(env, exports);
  echo::addon::register_loss(env, exports);
  echo::addon::register_loss_async(env, exports);
  echo::addon::register_gemm(env, exports);
  echo::addon::register_linear_loss(env, exports);
  echo::addon::register_decoder(env, exports);
  echo::addon::register_optim(env, exports);
  echo::addon::register_cuda_optim(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(echo_grpo, init)
