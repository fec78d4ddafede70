// libecho_grpo_cuda.so, opened when first asked for and never closed: what is on a device outlives the environment that put it there.
#pragma once

#include <string>

#include "../cuda/api.h"

namespace echo::addon {

enum class CudaOpening { open, does_not_load, other_version };

struct CudaOpened {
  CudaOpening state;
  std::string problem;
};

// Opens the library at an absolute path, unless one is open already: a process has one.
CudaOpened open_cuda_library(const std::string& path);

// Null before a library was opened.
const CudaApi* cuda_api();

}  // namespace echo::addon
