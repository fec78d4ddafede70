// As much of the binary interface of cuBLASLt 12 and 13 as is used here, so that neither its headers nor the library are needed to build.
#pragma once

#include <cstddef>
#include <cstdint>

namespace echo {
namespace cuda {

struct LtHandle;
struct LtMatmulDesc;
struct LtMatrixLayout;
struct LtPreference;

constexpr int lt_success = 0;              // cublasStatus_t
constexpr int lt_not_supported = 15;
constexpr int lt_float32 = 0;              // cudaDataType_t
constexpr int lt_bfloat16 = 14;
constexpr int lt_compute_float32 = 68;     // cublasComputeType_t
constexpr int32_t lt_not_transposed = 0;   // cublasOperation_t
constexpr int32_t lt_transposed = 1;
constexpr int lt_desc_transpose_a = 3;     // cublasLtMatmulDescAttributes_t
constexpr int lt_desc_transpose_b = 4;
constexpr int lt_preference_workspace = 1;    // cublasLtMatmulPreferenceAttributes_t
constexpr int lt_preference_alignment_a = 5;  // then of b, c and d

struct LtAlgorithm {
  uint64_t data[8];
};

struct LtHeuristic {
  LtAlgorithm algorithm;
  size_t workspace_bytes;
  int status;
  float waves;
  int reserved[4];
};

// Functions by the names they have there, without the prefix cublasLt.
struct LtApi {
  int (*Create)(LtHandle** handle);
  int (*MatmulDescCreate)(LtMatmulDesc** desc, int compute_type, int scale_type);
  int (*MatmulDescDestroy)(LtMatmulDesc* desc);
  int (*MatmulDescSetAttribute)(LtMatmulDesc* desc, int attribute, const void* value, size_t bytes);
  int (*MatrixLayoutCreate)(LtMatrixLayout** layout, int type, uint64_t rows, uint64_t columns, int64_t ld);
  int (*MatrixLayoutDestroy)(LtMatrixLayout* layout);
  int (*MatmulPreferenceCreate)(LtPreference** preference);
  int (*MatmulPreferenceDestroy)(LtPreference* preference);
  int (*MatmulPreferenceSetAttribute)(LtPreference* preference, int attribute, const void* value, size_t bytes);
  int (*MatmulAlgoGetHeuristic)(LtHandle* handle, LtMatmulDesc* desc, LtMatrixLayout* a, LtMatrixLayout* b, LtMatrixLayout* c, LtMatrixLayout* d,
                                LtPreference* preference, int wanted, LtHeuristic* found, int* count);
  int (*Matmul)(LtHandle* handle, LtMatmulDesc* desc, const void* alpha, const void* a, LtMatrixLayout* a_layout, const void* b,
                LtMatrixLayout* b_layout, const void* beta, const void* c, LtMatrixLayout* c_layout, void* d, LtMatrixLayout* d_layout,
                const LtAlgorithm* algorithm, void* workspace, size_t workspace_bytes, void* stream);
  const char* (*GetStatusName)(int status);
  const char* (*GetStatusString)(int status);
};

}  // namespace cuda
}  // namespace echo
