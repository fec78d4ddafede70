// The register tile: up to tile_rows x (tile_vectors * lanes) of C held in registers while k runs. Only for tier units.
//
// B is read in panels of 1 .. tile_vectors vectors. A packed panel is [k][width] contiguous; an unpacked B is read in place, and only a
// panel whose last vector is cut by n is copied to the stack first.
#pragma once

#include "kernels.h"
#include "tier_vector.h"

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

// Rows of B in flight: a panel of this depth stays in the first-level cache beside the rows of A.
constexpr int64_t depth = 256;

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

template <int Rows, int Vectors, bool Transposed>
void tile(int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, bool accumulate,
          int64_t last_count) {
  Vec sum[Rows][Vectors];
  if (accumulate) {
    for (int r = 0; r < Rows; r++) {
      for (int v = 0; v < Vectors - 1; v++) sum[r][v] = load(c + r * ldc + v * lanes);
      sum[r][Vectors - 1] = load_first(c + r * ldc + (Vectors - 1) * lanes, last_count);
    }
  } else {
    for (int r = 0; r < Rows; r++)
      for (int v = 0; v < Vectors; v++) sum[r][v] = Vec{};
  }
  const float* rows[Rows];
  for (int r = 0; r < Rows; r++) rows[r] = a + (Transposed ? r : r * lda);
  for (int64_t p = 0; p < k; p++) {
    Vec bv[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; v++) bv[v] = load(b + v * lanes);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; r++) {
      const Vec av = splat(Transposed ? a[r] : rows[r][p]);
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; v++) sum[r][v] = fma(av, bv[v], sum[r][v]);
    }
    if (Transposed) a += lda;
    b += ldb;
  }
  for (int r = 0; r < Rows; r++) {
    for (int v = 0; v < Vectors - 1; v++) store(c + r * ldc + v * lanes, sum[r][v]);
    store_first(c + r * ldc + (Vectors - 1) * lanes, sum[r][Vectors - 1], last_count);
  }
}

using Tile = void (*)(int64_t, const float*, int64_t, const float*, int64_t, float*, int64_t, bool, int64_t);

#define ECHO_TILES(T, R) {tile<R, 1, T>, tile<R, 2, T>, tile<R, tile_vectors, T>}
#if defined(__AVX512F__)
#define ECHO_TILE_ROWS(T) \
  {ECHO_TILES(T, 1), ECHO_TILES(T, 2), ECHO_TILES(T, 3), ECHO_TILES(T, 4), ECHO_TILES(T, 5), ECHO_TILES(T, 6), ECHO_TILES(T, 7), \
   ECHO_TILES(T, 8)}
#elif defined(__AVX2__)
#define ECHO_TILE_ROWS(T) \
  {ECHO_TILES(T, 1), ECHO_TILES(T, 2), ECHO_TILES(T, 3), ECHO_TILES(T, 4), ECHO_TILES(T, 5), ECHO_TILES(T, 6)}
#else
#define ECHO_TILE_ROWS(T) {ECHO_TILES(T, 1), ECHO_TILES(T, 2), ECHO_TILES(T, 3), ECHO_TILES(T, 4)}
#endif
const Tile tiles[2][tile_rows][3] = {ECHO_TILE_ROWS(false), ECHO_TILE_ROWS(true)};
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

void gemm(const GemmArgs& args, int64_t panel_begin, int64_t panel_end) {
  const int64_t vectors = vectors_of(args.n);
  if (args.k == 0 && !args.accumulate) {
    const int64_t from = panel_start(panel_begin, vectors) * lanes;
    int64_t to = panel_start(panel_end, vectors) * lanes;
    if (to > args.n) to = args.n;
    for (int64_t i = 0; i < args.m; i++)
      for (int64_t j = from; j < to; j++) args.c[i * args.ldc + j] = 0.0f;
  }
  for (int64_t p = 0; p < args.k; p += depth) {
    const int64_t k = args.k - p < depth ? args.k - p : depth;
    const bool accumulate = args.accumulate || p > 0;
    const float* a = args.a_transposed ? args.a + p * args.lda : args.a + p;
    const int64_t a_step = args.a_transposed ? 1 : args.lda;
    for (int64_t panel = panel_begin; panel < panel_end; panel++) {
      const int64_t first = panel_start(panel, vectors);
      const int nv = panel_vectors(vectors - first);
      const int64_t column = first * lanes;
      const int64_t last = args.n - column - (nv - 1) * lanes;
      float cut[depth * tile_vectors * lanes];
      const float* b;
      int64_t ldb = nv * lanes;
      if (args.b_packed) {
        b = args.b + column * args.k + p * ldb;
      } else if (last >= lanes) {
        b = args.b + p * args.ldb + column;
        ldb = args.ldb;
      } else {
        const int64_t count = args.n - column;
        for (int64_t i = 0; i < k; i++) {
          memcpy(cut + i * ldb, args.b + (p + i) * args.ldb + column, static_cast<size_t>(count) * sizeof(float));
          for (int64_t j = count; j < ldb; j++) cut[i * ldb + j] = 0.0f;
        }
        b = cut;
      }
      float* c = args.c + column;
      int64_t i = 0;
      for (; i + tile_rows <= args.m; i += tile_rows) {
        tiles[args.a_transposed][tile_rows - 1][nv - 1](k, a + i * a_step, args.lda, b, ldb, c + i * args.ldc, args.ldc, accumulate,
                                                        last);
      }
      if (i < args.m) {
        tiles[args.a_transposed][args.m - i - 1][nv - 1](k, a + i * a_step, args.lda, b, ldb, c + i * args.ldc, args.ldc, accumulate,
                                                         last);
      }
    }
  }
}

}  // namespace
}  // namespace ECHO_TIER
}  // namespace echo
