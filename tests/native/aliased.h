// An array of more elements than fit in memory: its first and its last piece and those named are memory of their own, and all other pieces
// are one and the same. A kernel that walks over it touches every index and a few megabytes.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

template <typename T>
class Aliased {
 public:
  // own: elements whose pieces are memory of their own.
  explicit Aliased(int64_t count, const std::vector<int64_t>& own = {}) {
    const std::size_t pieces = (static_cast<std::size_t>(count) * sizeof(T) + piece - 1) / piece;
    std::map<std::size_t, std::size_t> sources = {{0, 1}, {pieces - 1, 2}};
    for (const int64_t element : own) sources.emplace(static_cast<std::size_t>(element) * sizeof(T) / piece, sources.size() + 1);
    bytes_ = pieces * piece;
    void* base = mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    const int file = memfd_create("aliased", 0);
    if (base != MAP_FAILED && file >= 0 && ftruncate(file, static_cast<off_t>((sources.size() + 2) * piece)) == 0) {
      usable_ = true;
      for (std::size_t i = 0; i < pieces; i++) {
        const auto known = sources.find(i);
        const std::size_t source = known == sources.end() ? 0 : known->second;
        void* at = mmap(static_cast<char*>(base) + i * piece, piece, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file,
                        static_cast<off_t>(source * piece));
        if (at == MAP_FAILED) usable_ = false;
      }
    }
    if (file >= 0) close(file);
    base_ = base == MAP_FAILED ? nullptr : base;
  }
  ~Aliased() {
    if (base_ != nullptr) munmap(base_, bytes_);
  }
  Aliased(const Aliased&) = delete;
  Aliased& operator=(const Aliased&) = delete;

  // False on a system that does not lend that much address space.
  bool usable() const { return usable_; }
  T* data() { return static_cast<T*>(base_); }

 private:
  static constexpr std::size_t piece = std::size_t{16} << 20;
  void* base_ = nullptr;
  std::size_t bytes_ = 0;
  bool usable_ = false;
};
