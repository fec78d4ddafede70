#include "../core/isa.h"
#include "optim_kernels.h"

namespace echo {

const OptimKernels& active_optim_kernels() {
#if defined(__x86_64__)
  if (active_isa() >= Isa::avx512) return avx512::optim_kernels;
  if (active_isa() == Isa::avx2) return avx2::optim_kernels;
#elif defined(__aarch64__)
  if (active_isa() == Isa::neon) return neon::optim_kernels;
#endif
  return scalar::optim_kernels;
}

}  // namespace echo
