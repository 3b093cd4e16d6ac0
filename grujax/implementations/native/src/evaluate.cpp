#include "evaluate.h"

namespace grujax {
namespace {

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

}  // namespace

void project(const Layer& layer, const Weights& weights, int64_t rows, const float* inputs,
             float* projected) {
  Evaluate(layer, weights).project(rows, inputs, projected);
}

void evaluate_gates(const Layer& layer, const Weights& weights, const Rows& rows) {
  Evaluate(layer, weights).gates(rows);
}

}  // namespace grujax
