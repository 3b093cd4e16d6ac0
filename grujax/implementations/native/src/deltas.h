// The gradients of the gates for the rows of a time window, and their products with the weights.
#pragma once

#include "layer.h"
#include "memory.h"

namespace grujax {

// [blocks][rows][c r z n][lanes]: with respect to h·Whn (c) and the preactivations of the gates.
// With the reset gate before the product, c is unused.
class Deltas {
 public:
  Deltas() = default;
  Deltas(const Sizes& size, int64_t rows, ScratchArena& scratch)
      : blocks_(size.blocks()), rows_(rows), data_(scratch.floats(rows * size.padded() * 4)) {}

  float* at(int64_t block, int64_t row) const { return data_ + (block * rows_ + row) * 4 * kLanes; }

  // Calls f(height, width, row, block) for tiles of rows × blocks.
  template <class F>
  GRUJAX_INLINE static void over_tiles(int64_t blocks, int64_t rows, F&& f) {
    int64_t j = 0;
    auto with_width = [&](auto width) GRUJAX_INLINE_LAMBDA {
      tile_rows(rows,
                [&](auto height, int64_t row) GRUJAX_INLINE_LAMBDA { f(height, width, row, j); });
      j += decltype(width)::value;
    };
    while (blocks - j >= 5 || blocks - j == 3) with_width(Constant<3>{});
    while (blocks - j >= 2) with_width(Constant<2>{});
    if (blocks - j == 1) with_width(Constant<1>{});
  }

  // sums += Σ over blocks of the deltas of gates [first, first + count) times transposed weights.
  template <int M, int C>
  GRUJAX_INLINE void multiply(Vector (&sums)[M][C][1], int64_t row, int64_t column,
                              const float* weights, int first, int count, int weights_first) const {
    const int64_t tile = kLanes * kLanes;
    for (int64_t j = 0; j < blocks_; ++j)
      grujax::multiply(sums, count * kLanes, at(j, row) + first * kLanes, 4 * kLanes, 1,
                       weights + ((column * blocks_ + j) * 3 + weights_first) * tile, kLanes,
                       blocks_ * 3 * tile);
  }

 private:
  int64_t blocks_ = 0, rows_ = 0;
  float* data_ = nullptr;
};

}  // namespace grujax
