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

class Evaluate {
 public:
  Evaluate(const Layer& layer, const Weights& weights)
      : layer_(layer), weights_(weights), size_(layer.size) {
    zoneout_ = layer.zoneout ? *layer.zoneout : 0.f;
  }

  // xs·Wx + b for `rows` inputs, [rows][kRows · input_groups].
  void project(int64_t rows, const float* inputs, float* projected) const {
    const int64_t I = size_.inputs, stride = size_.input_groups() * kRows;
    for (int64_t j = 0; j < size_.blocks(); ++j)
      tile_rows(rows, [&](auto height, int64_t row) GRUJAX_INLINE_LAMBDA {
        constexpr int M = decltype(height)::value;
        Vector sums[M][1][3];
        for (int m = 0; m < M; ++m)
          for (int g = 0; g < 3; ++g) sums[m][0][g] = load(bias(j) + g * kLanes);
        multiply(sums, I, inputs + row * stride, stride, 1, weights_.w_x + j * I * 3 * kLanes,
                 3 * kLanes, 0);
        for (int m = 0; m < M; ++m)
          for (int g = 0; g < 3; ++g)
            store(projected + (((row + m) * size_.blocks() + j) * 3 + g) * kLanes, sums[m][0][g]);
      });
  }

  // The gates, and the state after the step where it is wanted.
  void gates(const Rows& rows) const {
    if (layer_.reset_after) {
      over_tiles(rows, [&](auto height, auto width, int64_t row, int64_t j) GRUJAX_INLINE_LAMBDA {
        reset_after<decltype(height)::value, decltype(width)::value>(rows, row, j);
      });
      return;
    }
    over_tiles(rows, [&](auto height, auto width, int64_t row, int64_t j) GRUJAX_INLINE_LAMBDA {
      reset_and_update<decltype(height)::value, decltype(width)::value>(rows, row, j);
    });
    over_tiles(rows, [&](auto height, auto width, int64_t row, int64_t j) GRUJAX_INLINE_LAMBDA {
      candidate<decltype(height)::value, decltype(width)::value>(rows, row, j);
    });
  }

 private:
  const float* bias(int64_t j) const { return weights_.bias + j * 4 * kLanes; }

  // Many rows go through one block's weights while they are in the cache; a few rows take two
  // blocks at once, for enough independent sums.
  template <class F>
  GRUJAX_INLINE void over_tiles(const Rows& rows, F&& f) const {
    const int64_t blocks = size_.blocks();
    int64_t j = 0;
    if (rows.number < kRows)
      for (; j + 2 <= blocks; j += 2)
        tile_rows(rows.number, [&](auto height, int64_t row) GRUJAX_INLINE_LAMBDA {
          if constexpr (decltype(height)::value < kRows) f(height, Number<2>{}, row, j);
        });
    for (; j < blocks; ++j)
      tile_rows(rows.number, [&](auto height, int64_t row)
                                 GRUJAX_INLINE_LAMBDA { f(height, Number<1>{}, row, j); });
  }

  template <int M, int C, int G>
  GRUJAX_INLINE void add_recurrent(Vector (&sums)[M][C][G], const float* states, int64_t row,
                                   int64_t j, int gate) const {
    const int64_t H = size_.units, stride = size_.padded();
    multiply(sums, H, states + row * stride, stride, 1,
             weights_.w_h + (j * H * 3 + gate) * kLanes, 3 * kLanes, H * 3 * kLanes);
  }

  GRUJAX_INLINE const float* projected(const Rows& rows, int64_t row, int64_t j) const {
    return rows.projected + (row * size_.blocks() + j) * 3 * kLanes;
  }

  template <int M, int C>
  GRUJAX_INLINE void reset_after(const Rows& rows, int64_t row, int64_t j) const {
    Vector sums[M][C][3];
    for (int m = 0; m < M; ++m)
      for (int c = 0; c < C; ++c) {
        const float* x = projected(rows, row + m, j + c);
        sums[m][c][0] = load(x);
        sums[m][c][1] = load(x + kLanes);
        sums[m][c][2] = load(bias(j + c) + 3 * kLanes);
      }
    add_recurrent(sums, rows.seen, row, j, 0);
    for (int m = 0; m < M; ++m)
      for (int c = 0; c < C; ++c) {
        const Vector r = sigmoid(sums[m][c][0]), z = sigmoid(sums[m][c][1]);
        const Vector product = sums[m][c][2];
        const Vector x_n = load(projected(rows, row + m, j + c) + 2 * kLanes);
        const Vector n = tanh(x_n + r * product);
        const int lanes = lanes_of(rows, j + c);
        if (rows.gates.reset) {
          const Gates gates = rows.gates.at(row + m);
          store(gates.reset + (j + c) * kLanes, r, lanes);
          store(gates.product + (j + c) * kLanes, product, lanes);
        }
        finish(rows, row + m, j + c, kept(rows, row + m, j + c, z), n, lanes);
      }
  }

  template <int M, int C>
  GRUJAX_INLINE void reset_and_update(const Rows& rows, int64_t row, int64_t j) const {
    Vector sums[M][C][2];
    for (int m = 0; m < M; ++m)
      for (int c = 0; c < C; ++c)
        for (int g = 0; g < 2; ++g)
          sums[m][c][g] = load(projected(rows, row + m, j + c) + g * kLanes);
    add_recurrent(sums, rows.seen, row, j, 0);
    for (int m = 0; m < M; ++m)
      for (int c = 0; c < C; ++c) {
        const int64_t at = (row + m) * size_.padded() + (j + c) * kLanes;
        const Vector r = sigmoid(sums[m][c][0]), z = sigmoid(sums[m][c][1]);
        store(rows.seen_reset + at, r * load(rows.seen + at));
        store(rows.update + at, kept(rows, row + m, j + c, z));
        if (rows.gates.reset)
          store(rows.gates.at(row + m).reset + (j + c) * kLanes, r, lanes_of(rows, j + c));
      }
  }

  template <int M, int C>
  GRUJAX_INLINE void candidate(const Rows& rows, int64_t row, int64_t j) const {
    Vector sums[M][C][1];
    for (int m = 0; m < M; ++m)
      for (int c = 0; c < C; ++c)
        sums[m][c][0] = load(projected(rows, row + m, j + c) + 2 * kLanes) +
                        load(bias(j + c) + 3 * kLanes);
    add_recurrent(sums, rows.seen_reset, row, j, 2);
    for (int m = 0; m < M; ++m)
      for (int c = 0; c < C; ++c) {
        const Vector z = load(rows.update + (row + m) * size_.padded() + (j + c) * kLanes);
        finish(rows, row + m, j + c, z, tanh(sums[m][c][0]), lanes_of(rows, j + c));
      }
  }

  // How many lanes of a block the gates' arrays have.
  GRUJAX_INLINE int lanes_of(const Rows& rows, int64_t j) const {
    return rows.gates.stride == size_.units ? size_.lanes(j) : kLanes;
  }

  // The update gate, 1 where the state is kept: then h' = 1·h + 0·n is h to the last bit.
  GRUJAX_INLINE Vector kept(const Rows& rows, int64_t row, int64_t j, Vector z) const {
    if (rows.exists && !rows.exists[row]) return splat(1.f);
    if (!rows.keeps) return z;
    Bytes bytes;
    std::memcpy(&bytes, rows.keeps + row * size_.padded() + j * kLanes, kLanes);
    return __builtin_convertvector(bytes, Mask) != 0 ? splat(1.f) : z;
  }

  GRUJAX_INLINE void finish(const Rows& rows, int64_t row, int64_t j, Vector z, Vector n,
                            int lanes) const {
    if (rows.gates.reset) {
      const Gates gates = rows.gates.at(row);
      store(gates.update + j * kLanes, z, lanes);
      store(gates.candidate + j * kLanes, n, lanes);
    }
    if (!rows.after) return;
    const int64_t at = row * size_.padded() + j * kLanes;
    const Vector u = z + zoneout_ * (1.f - z);
    store(rows.after + at, u * load(rows.before + at) + (1.f - u) * n);
  }

  const Layer& layer_;
  const Weights& weights_;
  const Sizes size_;
  float zoneout_;
};

}  // namespace grujax
