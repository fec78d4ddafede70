// Every element of a product against one chain of fmaf over k, bit for bit, on each tier: layouts, tails, accumulation, several threads.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "../../native/core/isa.h"
#include "../../native/core/thread_pool.h"
#include "../../native/model/gemm.h"

namespace {

uint32_t state = 1;

float next() {
  state = state * 1664525u + 1013904223u;
  return static_cast<float>(state >> 8) / 8388608.0f - 1.0f;
}

std::vector<float> random_floats(int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = next();
  return values;
}

enum class Layout { nn, nt, nn_packed, tn };

bool equal(echo::Isa isa, int64_t m, int64_t n, int64_t k, Layout layout, bool accumulate) {
  const bool packed = layout == Layout::nt || layout == Layout::nn_packed, a_transposed = layout == Layout::tn;
  const std::vector<float> a = random_floats(m * k), b = random_floats(k * n);
  std::vector<float> c = random_floats(m * n), expected = c, panels(static_cast<size_t>(echo::gemm_packed_size(k, n)));
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j++) {
      float sum = accumulate ? c[static_cast<size_t>(i * n + j)] : 0.0f;
      for (int64_t p = 0; p < k; p++) {
        const float x = a[static_cast<size_t>(a_transposed ? p * m + i : i * k + p)];
        const float y = b[static_cast<size_t>(layout == Layout::nt ? j * k + p : p * n + j)];
        if (isa == echo::Isa::scalar) {
          const float product = x * y;
          sum = sum + product;
        } else {
          sum = std::fmaf(x, y, sum);
        }
      }
      expected[static_cast<size_t>(i * n + j)] = sum;
    }
  }
  if (packed) echo::gemm_pack(b.data(), layout == Layout::nt ? k : n, layout == Layout::nt, k, n, panels.data());
  echo::gemm({m, n, k, a.data(), a_transposed ? m : k, a_transposed, packed ? panels.data() : b.data(), n, packed, c.data(), n,
              accumulate});
  return std::memcmp(c.data(), expected.data(), c.size() * sizeof(float)) == 0;
}

int failures = 0, cases = 0;

void check(echo::Isa isa, int64_t m, int64_t n, int64_t k, Layout layout, bool accumulate) {
  cases++;
  if (equal(isa, m, n, k, layout, accumulate)) return;
  if (failures++ < 10)
    std::printf("differs: %s m %d n %d k %d layout %d accumulate %d\n", echo::isa_name(isa), static_cast<int>(m), static_cast<int>(n),
                static_cast<int>(k), static_cast<int>(layout), accumulate);
}

}  // namespace

int main() {
  for (const echo::Isa isa : {echo::Isa::scalar, echo::Isa::avx2, echo::Isa::avx512, echo::Isa::avx512bf16, echo::Isa::neon}) {
    if (!echo::set_active_isa(isa)) {
      std::printf("NOT VERIFIED: tier %s, which this machine does not have\n", echo::isa_name(isa));
      continue;
    }
    for (const int threads : {1, 3}) {
      echo::set_thread_count(threads);
      for (const int64_t m : {1, 2, 5, 7, 8, 9, 33, 100})
        for (const int64_t n : {1, 7, 16, 17, 48, 50, 64, 65, 130})
          for (const int64_t k : {0, 1, 3, 64, 300})
            for (const Layout layout : {Layout::nn, Layout::nt, Layout::nn_packed, Layout::tn})
              for (const bool accumulate : {false, true}) check(isa, m, n, k, layout, accumulate);
      // Rows of A that share sets of the cache, several blocks of k, and a block only just too deep for one.
      for (const int64_t k : {385, 900})
        for (const bool accumulate : {false, true}) check(isa, 512, 70, k, Layout::tn, accumulate);
    }
  }
  std::printf("%d of %d products differ\n", failures, cases);
  return failures == 0 ? 0 : 1;
}
