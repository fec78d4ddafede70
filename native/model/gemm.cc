#include "gemm.h"

#include <algorithm>
#include <vector>

#include "../core/thread_pool.h"
#include "kernels.h"
#include "parallel.h"

namespace echo {

int64_t gemm_packed_size(int64_t k, int64_t n) { return model_kernels().gemm_packed_size(k, n); }

void gemm_pack(const float* source, int64_t ld, bool transposed, int64_t k, int64_t n, float* packed) {
  const ModelKernels& kernels = model_kernels();
  const int64_t panels = kernels.gemm_panels(n);
  const int64_t group = std::max<int64_t>(1, panels / (4 * thread_count()));
  parallel((panels + group - 1) / group, [&](int64_t task, int) {
    kernels.gemm_pack(source, ld, transposed, k, n, task * group, std::min(panels, (task + 1) * group), packed);
  });
}

namespace {

// A product cut into blocks of rows and of panels.
struct Grid {
  int64_t panels;
  int64_t row_blocks;
  int64_t block_panels;
  int64_t panel_blocks;
  int64_t blocks() const { return row_blocks * panel_blocks; }
};

constexpr int64_t block_rows = 96;

// Rows first: they share no part of A. Then panels, until there is work for every thread several times over.
Grid grid_of(const ModelKernels& kernels, const GemmArgs& args, int64_t wanted) {
  Grid grid;
  grid.panels = kernels.gemm_panels(args.n);
  grid.row_blocks = (args.m + block_rows - 1) / block_rows;
  if (grid.row_blocks == 0 || grid.panels == 0) return {0, 0, 1, 0};
  const int64_t cuts = std::clamp<int64_t>((wanted + grid.row_blocks - 1) / grid.row_blocks, 1, grid.panels);
  grid.block_panels = (grid.panels + cuts - 1) / cuts;
  grid.panel_blocks = (grid.panels + grid.block_panels - 1) / grid.block_panels;
  return grid;
}

void compute_block(const ModelKernels& kernels, const GemmArgs& args, const Grid& grid, int64_t block) {
  const int64_t row = block / grid.panel_blocks * block_rows;
  const int64_t panel = block % grid.panel_blocks * grid.block_panels;
  GemmArgs part = args;
  part.m = std::min(block_rows, args.m - row);
  part.a = args.a + (args.a_transposed ? row : row * args.lda);
  part.c = args.c + row * args.ldc;
  kernels.gemm(part, panel, std::min(grid.panels, panel + grid.block_panels));
}

}  // namespace

void gemm(const GemmArgs& args) { gemm_all(&args, 1); }

void gemm_all(const GemmArgs* products, int64_t count) {
  const ModelKernels& kernels = model_kernels();
  const int64_t threads = thread_count();
  const int64_t wanted = threads == 1 ? 1 : (6 * threads + count - 1) / count;
  std::vector<Grid> grids;
  std::vector<int64_t> ends;
  for (int64_t i = 0; i < count; i++) {
    grids.push_back(grid_of(kernels, products[i], wanted));
    ends.push_back((ends.empty() ? 0 : ends.back()) + grids.back().blocks());
  }
  parallel(ends.empty() ? 0 : ends.back(), [&](int64_t task, int) {
    size_t i = 0;
    while (task >= ends[i]) i++;
    compute_block(kernels, products[i], grids[i], task - (i == 0 ? 0 : ends[i - 1]));
  });
}

}  // namespace echo
