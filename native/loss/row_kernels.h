// What a tier unit gives to echo_loss.cc: the same functions, once per tier.
#pragma once

#include <cstdint>

#include "echo_loss.h"
#include "token_logprobs.h"

namespace echo {

// What one row adds to the totals.
struct EchoRow {
  double ratio;
  double surrogate;
  double kl;
  float entropy;
  float logprob;
  float nll_at_one;
  bool weighted;
  bool empty;
  bool nonfinite;
  bool clipped_low;
  bool clipped_high;
  bool clipped_dual;
};

struct RowKernels {
  // Rows [begin, end): gradient in place, one EchoRow each at rows[i]. scratch: null, or where needs_scratch says so memory for one row
  // of float32.
  void (*echo_rows)(const EchoLossArgs& args, int64_t begin, int64_t end, float* scratch, EchoRow* rows);
  void (*logprob_rows)(const TokenLogprobsArgs& args, int64_t begin, int64_t end, float* scratch);
  void (*statistics_rows)(const VocabStatisticsArgs& args, int64_t begin, int64_t end, float* scratch);
  // x += 1 in place over a row: the yardstick of bench/loss.ts.
  void (*update_row)(float* x, int64_t n);
};

namespace scalar {
extern const RowKernels row_kernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const RowKernels row_kernels;
}
namespace avx512 {
extern const RowKernels row_kernels;
}
namespace avx512bf16 {
extern const RowKernels row_kernels;
}
#elif defined(__aarch64__)
namespace neon {
extern const RowKernels row_kernels;
}
#endif

// Those of the active tier.
const RowKernels& active_row_kernels();

// Whether the row kernels need memory for one row of float32: for the exponentials of 16-bit logits, or for logits under a softcap.
inline bool needs_scratch(Dtype type, float softcap) { return type != Dtype::float32 || softcap > 0.0f; }

}  // namespace echo
