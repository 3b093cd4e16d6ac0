// The gates of any number of rows of one layer.
#pragma once

#include "layer.h"

namespace grujax {

// The gates of consecutive rows, each [rows][stride] in float32; null where nobody wants them.
struct Gates {
  float *reset = nullptr, *update = nullptr, *candidate = nullptr, *product = nullptr;
  int64_t stride = 0;

  Gates at(int64_t row) const {
    const int64_t offset = row * stride;
    return {reset + offset, update + offset, candidate + offset,
            product ? product + offset : nullptr, stride};
  }
};

// What is read and written for some rows, one below the other; strides are padded().
struct Rows {
  int64_t number;
  const float* projected;           // [rows][blocks][r z n][lanes], biases included
  const float* before;              // the state before the step
  const float* seen;                // the same as the gates see it
  const uint8_t* exists = nullptr;  // [rows], or null
  const uint8_t* keeps = nullptr;   // [rows][padded], or null
  float* after = nullptr;           // the state after the step, or null
  Gates gates;                      // or null
  float* seen_reset = nullptr;      // r ∘ seen, for reset before the product
  float* update = nullptr;          // z, for the same
};

// xs·Wx + b for `rows` inputs, [rows][kRows · input_groups].
void project(const Layer& layer, const Weights& weights, int64_t rows, const float* inputs,
             float* projected);

// The gates, and the state after the step where it is wanted.
void evaluate_gates(const Layer& layer, const Weights& weights, const Rows& rows);

}  // namespace grujax
