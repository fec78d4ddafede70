// Rows go to the threads in blocks of fixed size, so that sums over a block never depend on the thread count.
#pragma once

#include <cstdint>

#include "parallel.h"

namespace echo {

constexpr int64_t row_block = 64;

// function(first row, rows, worker) over all blocks.
template <typename Function>
void parallel_rows(int64_t rows, Function&& function) {
  parallel((rows + row_block - 1) / row_block, [&](int64_t block, int worker) {
    const int64_t begin = block * row_block;
    function(begin, rows - begin < row_block ? rows - begin : row_block, worker);
  });
}

}  // namespace echo
