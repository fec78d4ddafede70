// The register tile: up to tile_rows x (tile_vectors * lanes) of C held in registers while k runs. Only for tier units.
//
// B is read in panels of 1 .. tile_vectors vectors. A packed panel is [k][width] contiguous; an unpacked B is read in place.
#pragma once

#include "kernels.h"
#include "tier_vector.h"
#include "tile_tail.h"

namespace echo {
namespace ECHO_TIER {
namespace {

#if defined(__AVX512F__)
constexpr int tile_rows = 8;
constexpr int tile_vectors = 3;
#elif defined(__AVX2__)
constexpr int tile_rows = 6;
constexpr int tile_vectors = 2;
#else
constexpr int tile_rows = 4;
constexpr int tile_vectors = 2;
#endif

// Rows of B in flight, give or take half. A narrow panel of this depth stays in the first-level cache beside the rows of A; three wide
// vectors do not fit there at any depth that is worth it, and take from the second level what they use once in eight rows.
#if defined(__AVX512F__)
constexpr int64_t depth = 384;
#else
constexpr int64_t depth = 256;
#endif

inline int64_t vectors_of(int64_t n) { return (n + lanes - 1) / lanes; }

// Vectors of the panel that starts with `left` vectors to go; a single vector at the end would starve the tile, so 4 is 2 + 2.
inline int panel_vectors(int64_t left) {
  if (tile_vectors == 3 && left == 4) return 2;
  return left < tile_vectors ? static_cast<int>(left) : tile_vectors;
}

int64_t gemm_packed_size(int64_t k, int64_t n) { return k * vectors_of(n) * lanes; }

int64_t gemm_panels(int64_t n) {
  int64_t panels = 0;
  for (int64_t left = vectors_of(n); left > 0; left -= panel_vectors(left)) panels++;
  return panels;
}

// First vector of a panel (`vectors` for the one past the end): all before the last two are full.
inline int64_t panel_start(int64_t panel, int64_t vectors) {
  const int64_t start = panel * tile_vectors;
  if (start >= vectors) return vectors;
  return tile_vectors == 3 && start == vectors - 1 && start > 0 ? start - 1 : start;
}

template <typename Tail, int Rows, int Vectors, bool Transposed>
void tile(int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, bool accumulate,
          int64_t last_count) {
  using Last = typename Tail::Sum;
  constexpr int whole = Vectors - 1;
  const Tail tail(last_count);
  Vec sum[Rows][Vectors];
  Last last[Rows];
  if (accumulate) {
#pragma GCC unroll 16
    for (int r = 0; r < Rows; r++) {
#pragma GCC unroll 4
      for (int v = 0; v < whole; v++) sum[r][v] = load(c + r * ldc + v * lanes);
      last[r] = tail.load_c(c + r * ldc + whole * lanes);
    }
  } else {
#pragma GCC unroll 16
    for (int r = 0; r < Rows; r++) {
#pragma GCC unroll 4
      for (int v = 0; v < whole; v++) sum[r][v] = Vec{};
      last[r] = Last{};
    }
  }
  const float* rows[Rows];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++) rows[r] = a + (Transposed ? r : r * lda);
  for (int64_t p = 0; p < k; p++) {
    Vec bv[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < whole; v++) bv[v] = load(b + v * lanes);
    const Last b_last = tail.load_b(b + whole * lanes);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; r++) {
      const Vec av = splat(Transposed ? a[r] : rows[r][p]);
#pragma GCC unroll 4
      for (int v = 0; v < whole; v++) sum[r][v] = fma(av, bv[v], sum[r][v]);
      last[r] = fma(Tail::of(av), b_last, last[r]);
    }
    if (Transposed) a += lda;
    b += ldb;
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < whole; v++) store(c + r * ldc + v * lanes, sum[r][v]);
    tail.store_c(c + r * ldc + whole * lanes, last[r]);
  }
}

using Tile = void (*)(int64_t, const float*, int64_t, const float*, int64_t, float*, int64_t, bool, int64_t);

#define ECHO_TILES(L, T, R) {tile<L, R, 1, T>, tile<L, R, 2, T>, tile<L, R, tile_vectors, T>}
#if defined(__AVX512F__)
#define ECHO_TILE_ROWS(L, T)                                                                                                     \
  {ECHO_TILES(L, T, 1), ECHO_TILES(L, T, 2), ECHO_TILES(L, T, 3), ECHO_TILES(L, T, 4), ECHO_TILES(L, T, 5), ECHO_TILES(L, T, 6), \
   ECHO_TILES(L, T, 7), ECHO_TILES(L, T, 8)}
#elif defined(__AVX2__)
#define ECHO_TILE_ROWS(L, T) \
  {ECHO_TILES(L, T, 1), ECHO_TILES(L, T, 2), ECHO_TILES(L, T, 3), ECHO_TILES(L, T, 4), ECHO_TILES(L, T, 5), ECHO_TILES(L, T, 6)}
#else
#define ECHO_TILE_ROWS(L, T) {ECHO_TILES(L, T, 1), ECHO_TILES(L, T, 2), ECHO_TILES(L, T, 3), ECHO_TILES(L, T, 4)}
#endif
#define ECHO_TILE_LAYOUTS(L) {ECHO_TILE_ROWS(L, false), ECHO_TILE_ROWS(L, true)}
// By the tail, whether A is transposed, rows - 1 and vectors - 1.
const Tile tiles[tails][2][tile_rows][3] = {
    ECHO_TILE_LAYOUTS(WholeTail),
#if defined(__AVX2__)
    ECHO_TILE_LAYOUTS(CutTail),
#endif
#if defined(__AVX512F__)
    ECHO_TILE_LAYOUTS(HalfTail),
#endif
};
#undef ECHO_TILE_LAYOUTS
#undef ECHO_TILE_ROWS
#undef ECHO_TILES

void gemm_pack(const float* source, int64_t ld, bool transposed, int64_t k, int64_t n, int64_t panel_begin, int64_t panel_end,
               float* packed) {
  const int64_t vectors = vectors_of(n);
  for (int64_t panel = panel_begin; panel < panel_end; panel++) {
    const int64_t first = panel_start(panel, vectors);
    const int64_t width = panel_vectors(vectors - first) * lanes;
    const int64_t column = first * lanes;
    const int64_t count = n - column < width ? n - column : width;
    float* out = packed + column * k;
    if (transposed) {
      // In blocks of source columns that share cache lines: writes stay within a few rows of the panel.
      for (int64_t p0 = 0; p0 < k; p0 += 16) {
        const int64_t p1 = p0 + 16 < k ? p0 + 16 : k;
        for (int64_t j = 0; j < count; j++) {
          const float* in = source + (column + j) * ld;
          for (int64_t p = p0; p < p1; p++) out[p * width + j] = in[p];
        }
        for (int64_t p = p0; p < p1; p++)
          for (int64_t j = count; j < width; j++) out[p * width + j] = 0.0f;
      }
    } else {
      for (int64_t p = 0; p < k; p++) {
        memcpy(out + p * width, source + p * ld + column, static_cast<size_t>(count) * sizeof(float));
        for (int64_t j = count; j < width; j++) out[p * width + j] = 0.0f;
      }
    }
  }
}

// Rows of the next tile: the last two share what is left, as a tile of a row or two waits for its own sums.
inline int64_t next_rows(int64_t left) {
  if (left >= 2 * tile_rows || left == tile_rows) return tile_rows;
  return left > tile_rows ? (left + 1) / 2 : left;
}

// Rows of a transposed A that lie a multiple of this apart (in floats) share a few sets of the first-level cache and push each other
// out: they are copied side by side first. Narrow panels go over the same rows more often, so the copy pays sooner.
#if defined(__AVX512F__)
constexpr int64_t aliasing_stride = 512;
#else
constexpr int64_t aliasing_stride = 256;
#endif
constexpr int64_t copied_a = 24576;  // floats on the stack, at least a tile of rows for the deepest block
static_assert(copied_a / (depth + depth / 2) >= tile_rows);

// The products of k in [p, p + k) for m rows of C, whose part of A is at a.
void gemm_block(const GemmArgs& args, int64_t panel_begin, int64_t panel_end, int64_t p, int64_t k, const float* a, int64_t lda,
                float* c_rows, int64_t m) {
  const int64_t vectors = vectors_of(args.n);
  const bool accumulate = args.accumulate || p > 0;
  const int64_t a_step = args.a_transposed ? 1 : lda;
  for (int64_t panel = panel_begin; panel < panel_end; panel++) {
    const int64_t first = panel_start(panel, vectors);
    const int nv = panel_vectors(vectors - first);
    const int64_t column = first * lanes;
    const int64_t left = args.n - column - (nv - 1) * lanes;
    const int64_t last = left < lanes ? left : lanes;
    const float* b = args.b_packed ? args.b + column * args.k + p * nv * lanes : args.b + p * args.ldb + column;
    int64_t ldb = args.b_packed ? nv * lanes : args.ldb;
#if !defined(__AVX2__)
    // Without masked loads a last vector that n cuts cannot be read in place.
    float copied_b[(depth + depth / 2) * tile_vectors * lanes];
    if (!args.b_packed && last < lanes) {
      const int64_t width = nv * lanes, count = args.n - column;
      for (int64_t i = 0; i < k; i++) {
        memcpy(copied_b + i * width, b + i * ldb, static_cast<size_t>(count) * sizeof(float));
        for (int64_t j = count; j < width; j++) copied_b[i * width + j] = 0.0f;
      }
      b = copied_b;
      ldb = width;
    }
#endif
    const auto& kernels = tiles[tail_of(last, args.b_packed)][args.a_transposed];
    for (int64_t i = 0; i < m;) {
      const int64_t rows = next_rows(m - i);
      kernels[rows - 1][nv - 1](k, a + i * a_step, lda, b, ldb, c_rows + i * args.ldc + column, args.ldc, accumulate, last);
      i += rows;
    }
  }
}

void gemm(const GemmArgs& args, int64_t panel_begin, int64_t panel_end) {
  if (args.k == 0 && !args.accumulate) {
    const int64_t vectors = vectors_of(args.n);
    const int64_t from = panel_start(panel_begin, vectors) * lanes;
    int64_t to = panel_start(panel_end, vectors) * lanes;
    if (to > args.n) to = args.n;
    for (int64_t i = 0; i < args.m; i++)
      for (int64_t j = from; j < to; j++) args.c[i * args.ldc + j] = 0.0f;
  }
  // Blocks of one depth: a short one at the end would load and store C for a few products.
  const int64_t blocks = args.k < depth ? 1 : (args.k + depth / 2) / depth;
  const int64_t block = (args.k + blocks - 1) / blocks;
  const bool copy_a = args.a_transposed && args.lda % aliasing_stride == 0 && panel_end - panel_begin > 1;
  for (int64_t p = 0; p < args.k; p += block) {
    const int64_t k = args.k - p < block ? args.k - p : block;
    const float* a = args.a_transposed ? args.a + p * args.lda : args.a + p;
    if (!copy_a) {
      gemm_block(args, panel_begin, panel_end, p, k, a, args.lda, args.c, args.m);
      continue;
    }
    float copy[copied_a];
    const int64_t chunk = copied_a / k / tile_rows * tile_rows;
    for (int64_t i = 0; i < args.m; i += chunk) {
      const int64_t m = args.m - i < chunk ? args.m - i : chunk;
      for (int64_t q = 0; q < k; q++) memcpy(copy + q * m, a + q * args.lda + i, static_cast<size_t>(m) * sizeof(float));
      gemm_block(args, panel_begin, panel_end, p, k, copy, m, args.c + i * args.ldc, m);
    }
  }
}

}  // namespace
}  // namespace ECHO_TIER
}  // namespace echo
