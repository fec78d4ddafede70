// Which kernel a row goes to, by its length: the fewest lanes whose registers hold it.
#pragma once

#include <cstdint>

#include "../../core/dtype.h"

namespace echo {
namespace cuda {

struct RowPlan {
  bool resident;  // in registers; else streamed by a block
  int lanes;      // of a row within a warp: 8 or 32; 0: whole blocks
  int threads;    // of a block
  int cluster;    // blocks of a row
  int vectors;    // of 16 bytes that a thread holds at most: one of those there are kernels for
};

// Vectors for which there are kernels of whole blocks: 16-bit rows up to 8 of 8 elements, float32 rows up to 16 of 4. `full` kernels, with a
// softcap, an entropy or a second temperature, only come in the larger sizes.
inline constexpr int half_vectors[] = {2, 5, 8};
inline constexpr int float_vectors[] = {2, 5, 10, 16};
inline constexpr int lane_vectors[] = {4, 8};  // of 32 lanes; 8 lanes hold 4

inline int block_vectors(Dtype type, bool full, int64_t wanted) {
  const int* const all = type == Dtype::float32 ? float_vectors : half_vectors;
  const int count = type == Dtype::float32 ? 4 : 3;
  for (int k = 0; k < count; k++)
    if (all[k] >= wanted && (!full || all[k] >= 8)) return all[k];
  return 0;
}

// largest_cluster: 1 where the device has none. Which threads add up which logits does not depend on `full`: no sum does.
inline RowPlan plan_loss_rows(Dtype type, int64_t vocab, bool full, int largest_cluster) {
  const int64_t vectors = vocab / (16 / dtype_size(type));
  if (vectors <= 8 * 4) return {true, 8, 256, 1, 4};
  for (const int each : lane_vectors)
    if (vectors <= 32 * each) return {true, 32, 256, 1, each};
  // Beyond what two blocks of a multiprocessor can hold, a cluster is widened before a thread gets more.
  const int64_t usual = type == Dtype::float32 ? 10 : 8;
  for (int threads = 128; threads <= 512; threads *= 2)
    if (vectors <= threads * usual) return {true, 0, threads, 1, block_vectors(type, full, (vectors + threads - 1) / threads)};
  for (int cluster = 2; cluster <= largest_cluster; cluster *= 2)
    if (vectors <= cluster * 512 * usual)
      return {true, 0, 512, cluster, block_vectors(type, full, (vectors + cluster * 512 - 1) / (cluster * 512))};
  const int64_t most = block_vectors(type, full, (vectors + largest_cluster * 512 - 1) / (largest_cluster * 512));
  if (most > 0) return {true, 0, 512, largest_cluster, static_cast<int>(most)};
  return {false, 0, 512, 1, 0};
}

// For statistics of shards: lanes of a row, 0 for a block.
inline RowPlan plan_statistics_rows(Dtype type, int64_t vocab) {
  const int64_t vectors = vocab / (16 / dtype_size(type));
  if (vectors <= 8 * 8) return {false, 8, 256, 1, 0};
  if (vectors <= 32 * 16) return {false, 32, 256, 1, 0};
  return {false, 0, vectors <= 4096 ? 256 : 512, 1, 0};
}

}  // namespace cuda
}  // namespace echo
