// The inner loop of every matmul (`multiply`), and what it multiplies.
//
// Operands are cells of four bytes: one float32, or two bfloat16 that are neighbors in the sum. A
// matmul over pairs has half as many steps. The layouts of both kinds are the same, in cells.
#pragma once

#include "simd.h"

// Clang assembles only what the target has. GCC assembles all, and knows the name of the feature.
#if defined(__AVX512F__) && (defined(__clang__) ? defined(__AVX512BF16__) : __GNUC__ >= 11)
#define GRUJAX_HAS_PAIRS
#endif

namespace grujax {

// Products of float32.
struct SingleProduct {
  static constexpr int kPerCell = 1;

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

#ifdef GRUJAX_HAS_PAIRS
// Products of bfloat16, exact, whose sums are float32 (AVX512-BF16). The library is for processors
// without these instructions too, so the compiler may not use them by itself.
struct PairProduct {
  static constexpr int kPerCell = 2;

  static bool is_available() {
    static const bool is_available = __builtin_cpu_supports("avx512bf16");
    return is_available;
  }

  static GRUJAX_INLINE Vector splat_cell(float cell) {
    uint32_t bits;
    std::memcpy(&bits, &cell, 4);
    return reinterpret_cast<Vector>(bits - Bits{});
  }

  static GRUJAX_INLINE Vector multiply_add(Vector a, Vector b, Vector c) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));
    return c;
  }

  static GRUJAX_INLINE Vector add_cells(Vector values, Vector sums) {
    const Bits bits = reinterpret_cast<Bits>(values);
    return reinterpret_cast<Vector>(bits << 16) + reinterpret_cast<Vector>(bits & 0xffff0000u) +
           sums;
  }

  static GRUJAX_INLINE void store_cells(float* to, Vector values) {
    Halves halves;
    asm("vcvtneps2bf16 %1, %0" : "=v"(halves) : "v"(values));
    std::memcpy(to, &halves, sizeof halves);
  }

  // The entries must be bfloat16 already; those from `end` on are zero.
  template <class F>
  static GRUJAX_INLINE Vector gather_cells(int64_t k, int64_t end, F&& get) {
    const Bits low = reinterpret_cast<Bits>(get(k)) >> 16;
    return reinterpret_cast<Vector>(k + 1 < end ? low | reinterpret_cast<Bits>(get(k + 1)) : low);
  }
};
#endif

// Whether this processor multiplies pairs of bfloat16.
inline bool has_pairs() {
#ifdef GRUJAX_HAS_PAIRS
  return PairProduct::is_available();
#else
  return false;
#endif
}

// The number of cells of n entries.
template <class Product>
constexpr int64_t cells(int64_t n) {
  return (n + Product::kPerCell - 1) / Product::kPerCell;
}

// Calls f with the product of these operands.
template <class F>
void with_product([[maybe_unused]] bool in_pairs, F&& f) {
#ifdef GRUJAX_HAS_PAIRS
  if (in_pairs) return f(PairProduct{});
#endif
  f(SingleProduct{});
}

// sums[m][c][g] += Σ_k a[m·a_row + k·a_step] · b[k·b_step + c·b_block + g·b_gate + lane], in cells
template <class Product, int M, int C, int G>
GRUJAX_INLINE void multiply(Vector (&sums)[M][C][G], int64_t K, const float* a, int64_t a_row,
                            int64_t a_step, const float* b, int64_t b_step, int64_t b_block,
                            int64_t b_gate = kLanes) {
  for (int64_t k = 0; k < K; ++k, a += a_step, b += b_step) {
    Vector operands[C][G];
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c)
#pragma GCC unroll 8
      for (int g = 0; g < G; ++g) operands[c][g] = load(b + c * b_block + g * b_gate);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const Vector factor = Product::splat_cell(a[m * a_row]);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c)
#pragma GCC unroll 8
        for (int g = 0; g < G; ++g)
          sums[m][c][g] = Product::multiply_add(factor, operands[c][g], sums[m][c][g]);
    }
  }
}

}  // namespace grujax
