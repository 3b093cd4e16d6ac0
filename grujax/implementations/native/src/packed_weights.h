// The weights of a layer, and of all models, packed for the matmuls.
#pragma once

#include "gru.h"
#include "memory.h"

namespace grujax {

// The weights in the order in which matmuls read them: all gates of a block of units are adjacent.
template <class Product>
struct PackedWeights {
  float* w_x;   // [blocks][cells of I][r z n][lanes]
  float* w_h;   // [blocks][cells of H][r z n][lanes]
  float* bias;  // [blocks][r z n hn][lanes], floats
  // Transposed, for the backward pass; the recurrent ones in the order of its deltas.
  float* w_h_t;  // [blocks of h][blocks][n r z][cells of lanes][lanes of h]
  float* w_x_t;  // [blocks of x][blocks][r z n][cells of lanes][lanes of x]

  static constexpr int kLaneCells = kLanes / Product::kPerCell;

  static int64_t floats(const Sizes& s, bool is_backward) {
    const int64_t inner = cells<Product>(s.inputs) + cells<Product>(s.units);
    const int64_t forward = s.blocks() * kLanes * (3 * inner + 4);
    const int64_t transposed = 3 * s.padded() * kLaneCells * (s.blocks() + s.input_blocks());
    return forward + (is_backward ? transposed : 0);
  }

  PackedWeights() = default;
  PackedWeights(const Sizes& s, float* memory) {
    w_x = memory;
    w_h = w_x + s.blocks() * cells<Product>(s.inputs) * 3 * kLanes;
    bias = w_h + s.blocks() * cells<Product>(s.units) * 3 * kLanes;
    w_h_t = bias + s.blocks() * 4 * kLanes;
    w_x_t = w_h_t + 3 * s.padded() * kLaneCells * s.blocks();
  }

  // Packs one block of units. Threads may pack different blocks at the same time.
  void pack(const Layer& layer, int64_t block, bool is_backward) const {
    const Sizes& s = layer.size;
    const int lanes = s.lanes(block);
    const int64_t at = block * kLanes;
    auto pack_matrix = [&](float* to, const Floats& from, int64_t K) {
      to += block * cells<Product>(K) * 3 * kLanes;
      for (int g = 0; g < 3; ++g)
        for (int64_t k = 0; k < K; k += Product::kPerCell)
          store(to + (k / Product::kPerCell * 3 + g) * kLanes,
                Product::gather_cells(k, K, [&](int64_t entry) {
                  return from.get((g * K + entry) * s.units + at, lanes);
                }));
    };
    pack_matrix(w_x, layer.w_x, s.inputs);
    pack_matrix(w_h, layer.w_h, s.units);
    float* to = bias + block * 4 * kLanes;
    for (int g = 0; g < 3; ++g) store(to + g * kLanes, layer.b_x.get(g * s.units + at, lanes));
    store(to + 3 * kLanes, layer.b_hn.get(at, lanes));
    if (!is_backward) return;

    auto transpose = [&](float* to, const Floats& from, int64_t K, int first_gate) {
      for (int64_t column = 0; column * kLanes < K; ++column)
        for (int i = 0; i < 3; ++i) {
          const int g = (i + first_gate) % 3;
          float* tile = to + ((column * s.blocks() + block) * 3 + i) * kLaneCells * kLanes;
          for (int o = 0; o < kLanes; ++o) {
            const int64_t k = column * kLanes + o;
            Vector values = {};
            if (k < K) values = from.get((g * K + k) * s.units + at, lanes);
            float row[kLaneCells];
            Product::store_cells(row, values);
            for (int cell = 0; cell < kLaneCells; ++cell) tile[cell * kLanes + o] = row[cell];
          }
        }
    };
    transpose(w_h_t, layer.w_h, s.units, 2);
    transpose(w_x_t, layer.w_x, s.inputs, 0);
  }
};

// The packed weights of every model. If its rows are split over tasks, they are packed once, before
// the tasks run; otherwise the worker that computes the model packs them into its own memory.
template <class Product>
class PackedModels {
 public:
  PackedModels(Pool& pool, const Arguments& arguments, const BatchSplit& split, bool is_backward)
      : arguments_(arguments),
        is_backward_(is_backward),
        floats_((PackedWeights<Product>::floats(arguments.size, is_backward) + 15) / 16 * 16),
        shared_(split.parts() > 1),
        memory_(floats_ * (shared_ ? arguments.size.models : split.workers())) {
    if (!shared_) return;
    const int64_t blocks = arguments.size.blocks();
    parallel_for(pool, arguments.size.models * blocks, split.threads(), [&](int64_t task, int) {
      const int64_t m = task / blocks;
      at(m).pack(arguments_.layer(m), task % blocks, is_backward_);
    });
  }

  PackedWeights<Product> get(const Layer& layer, int64_t model, int worker) const {
    if (shared_) return at(model);
    const PackedWeights<Product> weights = at(worker);
    for (int64_t j = 0; j < layer.size.blocks(); ++j) weights.pack(layer, j, is_backward_);
    return weights;
  }

 private:
  PackedWeights<Product> at(int64_t index) const {
    return PackedWeights<Product>(arguments_.size, memory_.get() + index * floats_);
  }

  const Arguments& arguments_;
  const bool is_backward_;
  const int64_t floats_;
  const bool shared_;
  const AlignedFloats memory_;
};

}  // namespace grujax
