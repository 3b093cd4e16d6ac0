// The inner loop of every matmul (`multiply`), and what it multiplies.
//
// Operands are cells of four bytes: one float32, or two bfloat16 that are neighbors in the sum. A
// matmul over pairs has half as many steps. The layouts of all kinds are the same, in cells.
#pragma once

#include "bfloat16.h"

namespace grujax {

// Products of float32.
struct SingleProduct {
  static constexpr int kPerCell = 1, kCellGroup = 1, kMostRows = kRows, kRowsBeyond = 0;
  static constexpr bool kHasTiles = false;

  struct Session {};

  static GRUJAX_INLINE Vector splat_cell(float cell) { return splat(cell); }

  // a·b + c, rounded once where the processor can. GCC, which may write a·b + c in either way when
  // it tunes for AMD's Zen, has no choice here: a row would else depend on the tile that it is in.
  static GRUJAX_INLINE Vector multiply_add(Vector a, Vector b, Vector c) {
#if defined(__AVX512F__)
    return (Vector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (Vector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
  }

  // The entries of a cell, added to `sums`.
  static GRUJAX_INLINE Vector add_cells(Vector values, Vector sums) { return values + sums; }

  // The cells of consecutive entries.
  static GRUJAX_INLINE void store_cells(float* to, Vector values) { store(to, values); }

  // For each lane, the cell of entry k and those that follow it. `get` returns an entry.
  template <class F>
  static GRUJAX_INLINE Vector gather_cells(int64_t k, int64_t, F&& get) {
    return get(k);
  }
};

// The number of cells of n entries, in whole groups.
template <class Product>
constexpr int64_t cells(int64_t n) {
  constexpr int kEntries = Product::kPerCell * Product::kCellGroup;
  return (n + kEntries - 1) / kEntries * Product::kCellGroup;
}

// What the operands of a matmul are multiplied as.
enum class ProductKind { kSingle, kPairs, kTiles };

// Whether this processor has such products.
inline bool has_product(ProductKind kind) {
#ifdef GRUJAX_HAS_TILES
  if (kind == ProductKind::kTiles) return TileProduct::is_available();
#endif
#ifdef GRUJAX_HAS_PAIRS
  if (kind == ProductKind::kPairs) return PairProduct::is_available();
#endif
  return kind == ProductKind::kSingle;
}

// The fastest product of bfloat16 on this processor.
inline ProductKind bfloat16_product() {
  if (has_product(ProductKind::kTiles)) return ProductKind::kTiles;
#ifdef GRUJAX_HAS_PAIRS
  if (PairProduct::is_faster()) return ProductKind::kPairs;
#endif
  return ProductKind::kSingle;
}

// Calls f with the product of this kind.
template <class F>
void with_product([[maybe_unused]] ProductKind kind, F&& f) {
#ifdef GRUJAX_HAS_TILES
  if (kind == ProductKind::kTiles) return f(TileProduct{});
#endif
#ifdef GRUJAX_HAS_PAIRS
  if (kind == ProductKind::kPairs) return f(PairProduct{});
#endif
  f(SingleProduct{});
}

// sums[m][c][g] += Σ_k a[m·a_row + k·a_step] · b[k·b_step + c·b_block + g·b_gate + lane], in cells,
// for `count` operands that are a_next and b_next apart. Tiles want cells of a row side by side.
template <class Product, int M, int C, int G>
GRUJAX_INLINE void multiply(Vector (&sums)[M][C][G], int64_t K, const float* a, int64_t a_row,
                            int64_t a_step, const float* b, int64_t b_step, int64_t b_block,
                            int64_t b_gate = kLanes, int64_t count = 1, int64_t a_next = 0,
                            int64_t b_next = 0) {
  if constexpr (Product::kHasTiles) {
    const typename Product::template Sums<M, C, G> products;
    for (int64_t i = 0; i < count; ++i)
      products.add(K, a + i * a_next, a_row, b + i * b_next, b_step, b_block, b_gate);
    return products.add_to(sums);
  } else {
    for (int64_t i = 0; i < count; ++i) {
      const float *left = a + i * a_next, *right = b + i * b_next;
      for (int64_t k = 0; k < K; ++k, left += a_step, right += b_step) {
        Vector operands[C][G];
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c)
#pragma GCC unroll 8
          for (int g = 0; g < G; ++g) operands[c][g] = load(right + c * b_block + g * b_gate);
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) {
          const Vector factor = Product::splat_cell(left[m * a_row]);
#pragma GCC unroll 8
          for (int c = 0; c < C; ++c)
#pragma GCC unroll 8
            for (int g = 0; g < G; ++g)
              sums[m][c][g] = Product::multiply_add(factor, operands[c][g], sums[m][c][g]);
        }
      }
    }
  }
}

}  // namespace grujax
