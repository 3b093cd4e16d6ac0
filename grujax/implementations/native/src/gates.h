// Evaluates the gates of any number of rows of one layer.
#pragma once

#include "layer.h"

namespace grujax {

template <class Product>
struct Weights;

// The gates of consecutive rows, each [rows][stride] in float32; null if they are not kept.
struct Gates {
  float *reset = nullptr, *update = nullptr, *candidate = nullptr, *product = nullptr;
  int64_t stride = 0;

  Gates at(int64_t row) const {
    const int64_t offset = row * stride;
    return {reset + offset, update + offset, candidate + offset,
            product ? product + offset : nullptr, stride};
  }
};

// What is read and written for consecutive rows, each array with stride padded().
struct GateBuffers {
  int64_t rows;
  const float* projected;          // [rows][blocks][r z n][lanes], biases included
  const float* before;             // the state before the step
  const float* masked;             // that state with recurrent dropout applied
  const float* masked_cells;       // the same as cells, [rows][cells of padded()]
  const uint8_t* valid = nullptr;  // [rows], or null
  const uint8_t* kept = nullptr;   // [rows], or [rows][padded] for each unit, or null
  float* after = nullptr;          // the state after the step, or null
  Gates gates;                     // or null
  float* reset_masked = nullptr;   // cells of r ∘ masked, for reset before the product
  float* update = nullptr;         // z, for reset before the product
};

// xs·Wx + b for some blocks of units and `rows` inputs, [rows][cells of kRows · input_groups].
template <class Product>
void project(const Layer& layer, const Weights<Product>& weights, int64_t rows, const float* inputs,
             float* projected, int64_t first_block, int64_t end_block);

// Evaluates the gates of some blocks of units, and the state after the step unless `after` is null.
// With the reset gate before the product, the second of two stages needs the first one of all
// blocks.
template <class Product>
void evaluate_gates(const Layer& layer, const Weights<Product>& weights, const GateBuffers& buffers,
                    int stage, int64_t first_block, int64_t end_block);

inline int gate_stages(const Layer& layer) { return layer.reset_after ? 1 : 2; }

}  // namespace grujax
