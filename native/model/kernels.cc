#include "kernels.h"

#include "../core/isa.h"

namespace echo {

namespace scalar {
extern const ModelKernels model_kernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const ModelKernels model_kernels;
}
namespace avx512 {
extern const ModelKernels model_kernels;
}
#elif defined(__aarch64__)
namespace neon {
extern const ModelKernels model_kernels;
}
#endif

const ModelKernels& model_kernels() {
  switch (active_isa()) {
#if defined(__x86_64__)
    case Isa::avx2:
      return avx2::model_kernels;
    case Isa::avx512:
    case Isa::avx512bf16:
      return avx512::model_kernels;
#elif defined(__aarch64__)
    case Isa::neon:
      return neon::model_kernels;
#endif
    default:
      return scalar::model_kernels;
  }
}

}  // namespace echo
