#include "cuda_library.h"

#include <dlfcn.h>

#include <atomic>
#include <mutex>

namespace echo::addon {
namespace {

std::atomic<const CudaApi*> opened{nullptr};

std::string last_error() {
  const char* const said = dlerror();
  return said == nullptr ? "unknown error" : said;
}

}  // namespace

const CudaApi* cuda_api() { return opened.load(std::memory_order_acquire); }

CudaOpened open_cuda_library(const std::string& path) {
  static std::mutex mutex;
  const std::lock_guard<std::mutex> lock(mutex);
  if (cuda_api() != nullptr) return {CudaOpening::open, ""};
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return {CudaOpening::does_not_load, last_error()};
  using Entry = const CudaApi* (*)(int32_t);
  const Entry entry = reinterpret_cast<Entry>(dlsym(library, "echo_grpo_cuda_api"));
  if (entry == nullptr) return {CudaOpening::does_not_load, last_error()};
  const CudaApi* const api = entry(cuda_api_version);
  if (api == nullptr)
    return {CudaOpening::other_version, "expected interface " + std::to_string(cuda_api_version) + ", which the library does not have"};
  if (api->version != cuda_api_version || api->bytes != static_cast<int32_t>(sizeof(CudaApi)))
    return {CudaOpening::other_version, "expected interface " + std::to_string(cuda_api_version) + " of " + std::to_string(sizeof(CudaApi)) +
                                            " bytes, got " + std::to_string(api->version) + " of " + std::to_string(api->bytes)};
  opened.store(api, std::memory_order_release);
  return {CudaOpening::open, ""};
}

}  // namespace echo::addon
