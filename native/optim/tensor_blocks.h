// Cuts a list of tensors into blocks for the thread pool. A block never crosses a tensor, so block boundaries, and with them the order of
// every sum, are a function of the sizes alone.
#pragma once

#include <cstdint>
#include <new>

namespace echo {

class TensorBlocks {
 public:
  static constexpr int64_t block_size = 16384;

  // size_of(i) is the size of tensor i.
  template <typename SizeOf>
  TensorBlocks(int64_t tensors, SizeOf size_of) : first_(new (std::nothrow) int64_t[tensors + 1]), tensors_(tensors) {
    if (first_ == nullptr) return;
    int64_t blocks = 0;
    for (int64_t i = 0; i < tensors; i++) {
      first_[i] = blocks;
      blocks += (size_of(i) + block_size - 1) / block_size;
    }
    first_[tensors] = blocks;
  }
  ~TensorBlocks() { delete[] first_; }
  TensorBlocks(const TensorBlocks&) = delete;
  TensorBlocks& operator=(const TensorBlocks&) = delete;

  bool allocated() const { return first_ != nullptr; }
  int64_t count() const { return first_[tensors_]; }

  // The tensor of a block, and where in it the block begins.
  int64_t tensor(int64_t block) const {
    int64_t low = 0;
    int64_t high = tensors_;
    while (high - low > 1) {
      const int64_t middle = low + (high - low) / 2;
      if (first_[middle] <= block) low = middle;
      else high = middle;
    }
    return low;
  }
  int64_t offset(int64_t block, int64_t tensor) const { return (block - first_[tensor]) * block_size; }
  static int64_t length(int64_t size, int64_t offset) { return size - offset < block_size ? size - offset : block_size; }

 private:
  int64_t* first_;  // first_[i]: number of blocks before tensor i
  int64_t tensors_;
};

}  // namespace echo
