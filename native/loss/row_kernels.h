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
  float logprob;
  float nll_at_one;
  bool weighted;
  bool empty;
  bool nonfinite;
  bool clipped_low;
  bool clipped_high;
};

struct RowKernels {
  // Rows [begin, end): gradient in place, one EchoRow each at rows[i].
  void (*echo_rows)(const EchoLossArgs& args, int64_t begin, int64_t end, EchoRow* rows);
  void (*logprob_rows)(const TokenLogprobsArgs& args, int64_t begin, int64_t end);
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
#endif

}  // namespace echo
