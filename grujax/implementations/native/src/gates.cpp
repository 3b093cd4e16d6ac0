// The equations of the gates. One thread evaluates all rows that it is given.
#include "gates.h"

#include "weights.h"

namespace grujax {
namespace {

template <class Product>
class GateEvaluator {
 public:
  GateEvaluator(const Layer& layer, const Weights<Product>& weights)
      : layer_(layer), weights_(weights), size_(layer.size) {
    zoneout_rate_ = layer.zoneout_rate ? *layer.zoneout_rate : 0.f;
  }

  void project(int64_t rows, const float* inputs, float* projected, int64_t first,
               int64_t end) const {
    const int64_t I = cells<Product>(size_.inputs);
    const int64_t stride = cells<Product>(size_.input_groups() * kRows);
    over_tiles(rows, first, end,
               [&](auto height, auto width, int64_t row, int64_t j) GRUJAX_INLINE_LAMBDA {
                 constexpr int M = decltype(height)::value, C = decltype(width)::value;
                 Vector sums[M][C][3];
                 for (int m = 0; m < M; ++m)
                   for (int c = 0; c < C; ++c)
                     for (int g = 0; g < 3; ++g) sums[m][c][g] = load(bias(j + c) + g * kLanes);
                 multiply<Product>(sums, I, inputs + row * stride, stride, 1, weights_.x.at(j),
                                   weights_.x.cell, weights_.x.block, weights_.x.gate);
                 for (int m = 0; m < M; ++m)
                   for (int c = 0; c < C; ++c)
                     for (int g = 0; g < 3; ++g)
                       store(projected + (((row + m) * size_.blocks() + j + c) * 3 + g) * kLanes,
                             sums[m][c][g]);
               });
  }

  void gates(const GateBuffers& buffers, int stage, int64_t first, int64_t end) const {
    over_tiles(buffers.rows, first, end,
               [&](auto height, auto width, int64_t row, int64_t j) GRUJAX_INLINE_LAMBDA {
                 constexpr int M = decltype(height)::value, C = decltype(width)::value;
                 if (layer_.reset_after) {
                   reset_after<M, C>(buffers, row, j);
                 } else if (stage == 0) {
                   reset_and_update<M, C>(buffers, row, j);
                 } else {
                   candidate<M, C>(buffers, row, j);
                 }
               });
  }

 private:
  const float* bias(int64_t j) const { return weights_.bias + j * 4 * kLanes; }

  // Many rows use one block's weights while these are in the cache. In registers, fewer rows
  // compute several blocks at once, to have enough independent sums.
  template <class F>
  static GRUJAX_INLINE void over_tiles(int64_t rows, int64_t j, int64_t end, F&& f) {
    constexpr int kMost = Product::kMostRows;
    if constexpr (!Product::kHasTiles) {
      for (; rows == 1 && j + 4 <= end; j += 4) f(Constant<1>{}, Constant<4>{}, 0, j);
      for (; rows < kMost && j + 2 <= end; j += 2)
        tile_rows<kMost>(rows, [&](auto height, int64_t row) GRUJAX_INLINE_LAMBDA {
          if constexpr (decltype(height)::value < kMost) f(height, Constant<2>{}, row, j);
        });
    }
    for (; j < end; ++j)
      tile_rows<kMost>(rows, [&](auto height, int64_t row)
                                 GRUJAX_INLINE_LAMBDA { f(height, Constant<1>{}, row, j); });
  }

  template <int M, int C, int G>
  GRUJAX_INLINE void add_recurrent(Vector (&sums)[M][C][G], const float* states, int64_t row,
                                   int64_t j, int gate) const {
    const int64_t H = cells<Product>(size_.units), stride = cells<Product>(size_.padded());
    multiply<Product>(sums, H, states + row * stride, stride, 1,
                      weights_.h.at(j, gate), weights_.h.cell, weights_.h.block, weights_.h.gate);
  }

  GRUJAX_INLINE const float* projected(const GateBuffers& buffers, int64_t row, int64_t j) const {
    return buffers.projected + (row * size_.blocks() + j) * 3 * kLanes;
  }

  template <int M, int C>
  GRUJAX_INLINE void reset_after(const GateBuffers& buffers, int64_t row, int64_t j) const {
    Vector sums[M][C][3];
    for (int m = 0; m < M; ++m)
      for (int c = 0; c < C; ++c) {
        const float* x = projected(buffers, row + m, j + c);
        sums[m][c][0] = load(x);
        sums[m][c][1] = load(x + kLanes);
        sums[m][c][2] = load(bias(j + c) + 3 * kLanes);
      }
    add_recurrent(sums, buffers.masked_cells, row, j, 0);
    for (int m = 0; m < M; ++m)
      for (int c = 0; c < C; ++c) {
        const Vector r = sigmoid(sums[m][c][0]), z = sigmoid(sums[m][c][1]);
        const Vector product = sums[m][c][2];
        const Vector x_n = load(projected(buffers, row + m, j + c) + 2 * kLanes);
        const Vector n = tanh(x_n + r * product);
        const int lanes = lanes_of(buffers, j + c);
        if (buffers.gates.reset) {
          const Gates gates = buffers.gates.at(row + m);
          store(gates.reset + (j + c) * kLanes, r, lanes);
          store(gates.product + (j + c) * kLanes, product, lanes);
        }
        finish(buffers, row + m, j + c, effective_update(buffers, row + m, j + c, z), n, lanes);
      }
  }

  template <int M, int C>
  GRUJAX_INLINE void reset_and_update(const GateBuffers& buffers, int64_t row, int64_t j) const {
    Vector sums[M][C][2];
    for (int m = 0; m < M; ++m)
      for (int c = 0; c < C; ++c)
        for (int g = 0; g < 2; ++g)
          sums[m][c][g] = load(projected(buffers, row + m, j + c) + g * kLanes);
    add_recurrent(sums, buffers.masked_cells, row, j, 0);
    for (int m = 0; m < M; ++m)
      for (int c = 0; c < C; ++c) {
        const int64_t at = (row + m) * size_.padded() + (j + c) * kLanes;
        const Vector r = sigmoid(sums[m][c][0]), z = sigmoid(sums[m][c][1]);
        Product::store_cells(buffers.reset_masked + at / Product::kPerCell,
                             r * load(buffers.masked + at));
        store(buffers.update + at, effective_update(buffers, row + m, j + c, z));
        if (buffers.gates.reset)
          store(buffers.gates.at(row + m).reset + (j + c) * kLanes, r, lanes_of(buffers, j + c));
      }
  }

  template <int M, int C>
  GRUJAX_INLINE void candidate(const GateBuffers& buffers, int64_t row, int64_t j) const {
    Vector sums[M][C][1];
    for (int m = 0; m < M; ++m)
      for (int c = 0; c < C; ++c)
        sums[m][c][0] =
            load(projected(buffers, row + m, j + c) + 2 * kLanes) + load(bias(j + c) + 3 * kLanes);
    add_recurrent(sums, buffers.reset_masked, row, j, 2);
    for (int m = 0; m < M; ++m)
      for (int c = 0; c < C; ++c) {
        const Vector z = load(buffers.update + (row + m) * size_.padded() + (j + c) * kLanes);
        finish(buffers, row + m, j + c, z, tanh(sums[m][c][0]), lanes_of(buffers, j + c));
      }
  }

  // How many lanes of a block the arrays of gates have.
  GRUJAX_INLINE int lanes_of(const GateBuffers& buffers, int64_t j) const {
    return buffers.gates.stride == size_.units ? size_.lanes(j) : kLanes;
  }

  // The update gate, set to 1 where the state is kept: then h' = 1·h + 0·n is exactly h.
  GRUJAX_INLINE Vector effective_update(const GateBuffers& buffers, int64_t row, int64_t j,
                                        Vector z) const {
    if (buffers.valid && !buffers.valid[row]) return splat(1.f);
    if (!buffers.kept) return z;
    if (layer_.kept_units == 1) return buffers.kept[row] ? splat(1.f) : z;
    Bytes bytes;
    std::memcpy(&bytes, buffers.kept + row * size_.padded() + j * kLanes, kLanes);
    return __builtin_convertvector(bytes, Mask) != 0 ? splat(1.f) : z;
  }

  GRUJAX_INLINE void finish(const GateBuffers& buffers, int64_t row, int64_t j, Vector z, Vector n,
                            int lanes) const {
    if (buffers.gates.reset) {
      const Gates gates = buffers.gates.at(row);
      store(gates.update + j * kLanes, z, lanes);
      store(gates.candidate + j * kLanes, n, lanes);
    }
    if (!buffers.after) return;
    const int64_t at = row * size_.padded() + j * kLanes;
    const Vector u = z + zoneout_rate_ * (1.f - z);
    store(buffers.after + at, u * load(buffers.before + at) + (1.f - u) * n);
  }

  const Layer& layer_;
  const Weights<Product>& weights_;
  const Sizes size_;
  float zoneout_rate_;
};

}  // namespace

template <class Product>
void project(const Layer& layer, const Weights<Product>& weights, int64_t rows,
             const float* inputs, float* projected, int64_t first_block, int64_t end_block) {
  GateEvaluator<Product>(layer, weights).project(rows, inputs, projected, first_block, end_block);
}

template <class Product>
void evaluate_gates(const Layer& layer, const Weights<Product>& weights,
                    const GateBuffers& buffers, int stage, int64_t first_block, int64_t end_block) {
  GateEvaluator<Product>(layer, weights).gates(buffers, stage, first_block, end_block);
}

#define GRUJAX_INSTANTIATE(Product)                                                              \
  template void project(const Layer&, const Weights<Product>&, int64_t, const float*, float*,    \
                        int64_t, int64_t);                                                       \
  template void evaluate_gates(const Layer&, const Weights<Product>&, const GateBuffers&, int,   \
                               int64_t, int64_t);

GRUJAX_INSTANTIATE(SingleProduct)
#ifdef GRUJAX_HAS_PAIRS
GRUJAX_INSTANTIATE(PairProduct)
#endif
#ifdef GRUJAX_HAS_TILES
GRUJAX_INSTANTIATE(TileProduct)
#endif

}  // namespace grujax
