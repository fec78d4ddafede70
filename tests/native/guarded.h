// Float memory that ends (or begins) exactly at a page that cannot be touched: one element too far is a crash, not a wrong number.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

template <typename T>
class Guarded {
 public:
  enum class Against { end, begin };

  Guarded(std::size_t count, Against side) : count_(count) {
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    body_ = (count * sizeof(T) + page - 1) / page * page;
    if (body_ == 0) body_ = page;
    bytes_ = body_ + 2 * page;
    base_ = static_cast<char*>(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED) std::abort();
    start_ = base_ + page;
    if (mprotect(base_, page, PROT_NONE) != 0 || mprotect(start_ + body_, page, PROT_NONE) != 0) std::abort();
    data_ = reinterpret_cast<T*>(side == Against::end ? start_ + body_ - count * sizeof(T) : start_);
  }
  ~Guarded() { munmap(base_, bytes_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* data() { return data_; }
  T& operator[](std::size_t i) { return data_[i]; }
  std::size_t size() const { return count_; }
  void forbid_writing() {
    if (mprotect(start_, body_, PROT_READ) != 0) std::abort();
  }

 private:
  std::size_t count_;
  std::size_t body_;
  std::size_t bytes_;
  char* base_;
  char* start_;
  T* data_;
};
