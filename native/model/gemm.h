// float32 matrix products with a fixed accumulation order: every element of C is one chain of fused multiply-adds over k = 0 .. K - 1
// (multiply, then add in the scalar tier), whatever M, the row's place, the tile or the thread count. A chain may be continued by
// another call with `accumulate`: [0, K) equals [0, J) then [J, K), bit for bit.
#pragma once

#include <cstdint>

namespace echo {

struct GemmArgs {
  int64_t m;
  int64_t n;
  int64_t k;
  const float* a;      // A[i, p] = a[i * lda + p]; with a_transposed a[p * lda + i]
  int64_t lda;
  bool a_transposed;
  const float* b;      // B[p, j] = b[p * ldb + j]; packed by gemm_pack when b_packed
  int64_t ldb;
  bool b_packed;
  float* c;            // C[i, j] = c[i * ldc + j]
  int64_t ldc;
  bool accumulate;     // start the chains from C instead of from 0
};

// Floats that a packed [k, n] matrix takes on the active tier.
int64_t gemm_packed_size(int64_t k, int64_t n);

// Packs B[p, j] = source[p * ld + j], or source[j * ld + p] when transposed, for the active tier. Uses the thread pool.
void gemm_pack(const float* source, int64_t ld, bool transposed, int64_t k, int64_t n, float* packed);

// Tiles of C are spread over the thread pool. Not to be called from within parallel_for.
void gemm(const GemmArgs& args);

// Several independent products at once.
void gemm_all(const GemmArgs* products, int64_t count);

}  // namespace echo
