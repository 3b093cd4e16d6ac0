// The gradients of the gates for the rows of a time window, and their products with the weights.
#pragma once

#include "layer.h"
#include "memory.h"

namespace grujax {

// [blocks][rows][c r z n][cells of lanes]: with respect to h·Whn (c) and the preactivations of the
// gates. With the reset gate before the product, c is unused.
template <class Product>
class Deltas {
 public:
  static constexpr int kLaneCells = kLanes / Product::kPerCell;

  Deltas() = default;
  Deltas(const Sizes& size, int64_t rows, ScratchArena& scratch)
      : blocks_(size.blocks()),
        rows_(rows),
        data_(scratch.floats((rows * size.blocks() + Product::kRowsBeyond) * 4 * kLaneCells)) {}

  float* at(int64_t block, int64_t row) const {
    return data_ + (block * rows_ + row) * 4 * kLaneCells;
  }

  // Sets gate `index` of c r z n.
  GRUJAX_INLINE void set(int64_t block, int64_t row, int index, Vector values) const {
    Product::store_cells(at(block, row) + index * kLaneCells, values);
  }

  // One block's deltas as cells along the rows, [cells of rows][c r z n][lanes]. Those of a float32
  // product are the deltas.
  const float* along_rows(int64_t block, int64_t rows, float* memory) const {
    if constexpr (Product::kPerCell == 1) return at(block, 0);
    float* to = memory;
    for (int64_t row = 0; row < cells<Product>(rows) * Product::kPerCell; row += Product::kPerCell)
      for (int index = 0; index < 4; ++index, to += kLanes)
        store(to, Product::gather_cells(row, rows, [&](int64_t r) GRUJAX_INLINE_LAMBDA {
                Halves halves;
                std::memcpy(&halves, at(block, r) + index * kLaneCells, sizeof halves);
                return from_bfloat16(halves);
              }));
    return memory;
  }

  // sums += Σ over blocks of the deltas of gates [first, first + count) times transposed weights.
  template <int M, int C>
  GRUJAX_INLINE void multiply(Vector (&sums)[M][C][1], int64_t row, int64_t column,
                              const float* weights, int first, int count, int weights_first) const {
    const int64_t tile = kLaneCells * kLanes;
    grujax::multiply<Product>(sums, count * kLaneCells, at(0, row) + first * kLaneCells,
                              4 * kLaneCells, 1,
                              weights + (column * blocks_ * 3 + weights_first) * tile, kLanes,
                              blocks_ * 3 * tile, 0, blocks_, rows_ * 4 * kLaneCells, 3 * tile);
  }

 private:
  int64_t blocks_ = 0, rows_ = 0;
  float* data_ = nullptr;
};

// Calls f(height, width, row, block) for tiles of rows × blocks.
template <class Product, class F>
GRUJAX_INLINE void over_tiles(int64_t blocks, int64_t rows, F&& f) {
  int64_t j = 0;
  auto with_width = [&](auto width) GRUJAX_INLINE_LAMBDA {
    tile_rows<Product::kMostRows>(
        rows, [&](auto height, int64_t row) GRUJAX_INLINE_LAMBDA { f(height, width, row, j); });
    j += decltype(width)::value;
  };
  while (blocks - j >= 5 || blocks - j == 3) with_width(Constant<3>{});
  while (blocks - j >= 2) with_width(Constant<2>{});
  if (blocks - j == 1) with_width(Constant<1>{});
}

}  // namespace grujax
