// Tier unit: the decoder's kernels for one instruction set.
#include "attention_kernel.h"
#include "gemm_kernel.h"
#include "row_kernels.h"

namespace echo {
namespace ECHO_TIER {

extern const ModelKernels model_kernels;
const ModelKernels model_kernels = {
    tile_rows,
    gemm_packed_size,
    gemm_panels,
    gemm_pack,
    gemm,
    rmsnorm_forward,
    rmsnorm_backward,
    qk_norm_rope_forward,
    qk_norm_rope_backward,
    silu_forward,
    silu_backward,
    attention_forward_scratch,
    attention_forward,
    attention_backward_scratch,
    attention_backward,
    transpose,
    sampling_weights,
    add_rows,
};

}  // namespace ECHO_TIER
}  // namespace echo
