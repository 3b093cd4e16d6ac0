// One model's GRU layer: its arrays, its packed weights, and the gates of any number of rows.
#pragma once

#include "vectors.h"

namespace grujax {

struct Sizes {
  int64_t models, steps, rows, inputs, units;  // M, T, B, I, H

  // Units in blocks of a vector each, the last one padded with zeros.
  int64_t blocks() const { return (units + kLanes - 1) / kLanes; }
  int64_t padded() const { return blocks() * kLanes; }
  int64_t input_blocks() const { return (inputs + kLanes - 1) / kLanes; }
  // Inputs and units in groups of kRows: the rows of a tile of the weights' gradient.
  int64_t input_groups() const { return (inputs + kRows - 1) / kRows; }
  int64_t unit_groups() const { return (units + kRows - 1) / kRows; }
  int lanes(int64_t block) const {
    return static_cast<int>(units - block * kLanes < kLanes ? units - block * kLanes : kLanes);
  }
};

// The arguments of an implementation, see grujax/implementations/__init__.py; null where absent.
struct Layer {
  Sizes size;
  bool reverse, reset_after;
  Floats w_x, w_h, b_x, b_hn;        // [3, I, H], [3, H, H], [3, H], [H]
  Floats xs, h0, reset_state;        // [T, B, I], [B, H], [B, H]
  const uint8_t *exists, *starts;    // [T, B]
  const uint8_t* keeps;              // [T, B, H]
  const float *zoneout, *scale;      // [], [B, H]

  // The walk's positions are 0, 1, ... in both directions.
  int64_t time(int64_t position) const {
    return reverse ? size.steps - 1 - position : position;
  }
};

// Weights as the tiles read them, all gates of a block side by side.
struct Weights {
  float* w_x;   // [blocks][I][r z n][lanes]
  float* w_h;   // [blocks][H][r z n][lanes]
  float* bias;  // [blocks][r z n hn][lanes]
  // Transposed, for the gradient; the recurrent ones in the order in which it has their factors.
  float* w_h_t;  // [blocks of h][blocks][n r z][lanes][lanes of h]
  float* w_x_t;  // [blocks of x][blocks][r z n][lanes][lanes of x]

  static int64_t floats(const Sizes& s, bool gradient) {
    const int64_t forward = s.blocks() * kLanes * (3 * (s.inputs + s.units) + 4);
    const int64_t transposed = 3 * s.padded() * kLanes * (s.blocks() + s.input_blocks());
    return forward + (gradient ? transposed : 0);
  }

  Weights() = default;
  Weights(const Sizes& s, float* memory) {
    w_x = memory;
    w_h = w_x + s.blocks() * s.inputs * 3 * kLanes;
    bias = w_h + s.blocks() * s.units * 3 * kLanes;
    w_h_t = bias + s.blocks() * 4 * kLanes;
    w_x_t = w_h_t + 3 * s.padded() * kLanes * s.blocks();
  }

  // Packs what belongs to one block of units; blocks may be packed side by side.
  void pack(const Layer& layer, int64_t block, bool gradient) const {
    const Sizes& s = layer.size;
    const int lanes = s.lanes(block);
    const int64_t at = block * kLanes;
    auto pack_matrix = [&](float* to, const Floats& from, int64_t K) {
      to += block * K * 3 * kLanes;
      for (int g = 0; g < 3; ++g)
        for (int64_t k = 0; k < K; ++k)
          store(to + (k * 3 + g) * kLanes, from.get((g * K + k) * s.units + at, lanes));
    };
    pack_matrix(w_x, layer.w_x, s.inputs);
    pack_matrix(w_h, layer.w_h, s.units);
    float* to = bias + block * 4 * kLanes;
    for (int g = 0; g < 3; ++g) store(to + g * kLanes, layer.b_x.get(g * s.units + at, lanes));
    store(to + 3 * kLanes, layer.b_hn.get(at, lanes));
    if (!gradient) return;

    auto transpose = [&](float* to, const Floats& from, int64_t K, int first_gate) {
      for (int64_t column = 0; column * kLanes < K; ++column)
        for (int i = 0; i < 3; ++i) {
          const int g = (i + first_gate) % 3;
          float* tile = to + ((column * s.blocks() + block) * 3 + i) * kLanes * kLanes;
          for (int o = 0; o < kLanes; ++o) {
            const int64_t k = column * kLanes + o;
            Vector values = {};
            if (k < K) values = from.get((g * K + k) * s.units + at, lanes);
            for (int lane = 0; lane < kLanes; ++lane) tile[lane * kLanes + o] = values[lane];
          }
        }
    };
    transpose(w_h_t, layer.w_h, s.units, 2);
    transpose(w_x_t, layer.w_x, s.inputs, 0);
  }
};

}  // namespace grujax
