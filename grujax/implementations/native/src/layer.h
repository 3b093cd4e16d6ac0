// One model's GRU layer: its sizes and arrays.
#pragma once

#include "product.h"

namespace grujax {

struct Sizes {
  int64_t models, steps, rows, inputs, units;  // M, T, B, I, H

  // Units are split into blocks of one vector each; the last block is padded with zeros.
  int64_t blocks() const { return (units + kLanes - 1) / kLanes; }
  int64_t padded() const { return blocks() * kLanes; }
  int64_t input_blocks() const { return (inputs + kLanes - 1) / kLanes; }
  // Inputs and units are split into groups of kRows: the rows of a tile of the weights' gradient.
  int64_t input_groups() const { return (inputs + kRows - 1) / kRows; }
  int64_t unit_groups() const { return (units + kRows - 1) / kRows; }
  int lanes(int64_t block) const {
    return static_cast<int>(units - block * kLanes < kLanes ? units - block * kLanes : kLanes);
  }
};

// The arguments of an implementation, see grujax/implementations/types.py; null where absent.
struct Layer {
  Sizes size;
  bool reverse, reset_after;
  Floats w_x, w_h, b_x, b_hn;                // [3, I, H], [3, H, H], [3, H], [H]
  Floats xs, h0, reset_state;                // [T, B, I], [B, H], [B, H]
  const uint8_t *valid, *restart;            // [T, B]
  const uint8_t* kept;                       // [T, B, kept_units]
  int64_t kept_units;                        // 1 or H
  const float *zoneout_rate, *dropout_mask;  // [], [B, H]

  // Whether a unit keeps its state, at a row of [T · B].
  bool keeps(int64_t row, int64_t unit) const {
    return kept && kept[row * kept_units + (kept_units == 1 ? 0 : unit)];
  }

  // Positions count steps in the order of the recurrence, 0, 1, ... in both directions.
  int64_t time(int64_t position) const { return reverse ? size.steps - 1 - position : position; }
};

}  // namespace grujax
