// The weights of a layer, and of all models, packed for the matmuls.
#pragma once

#include "gru.h"
#include "memory.h"

namespace grujax {

// The weights in the order in which matmuls read them: all gates of a block of units are adjacent.
struct PackedWeights {
  float* w_x;   // [blocks][I][r z n][lanes]
  float* w_h;   // [blocks][H][r z n][lanes]
  float* bias;  // [blocks][r z n hn][lanes]
  // Transposed, for the backward pass; the recurrent ones in the order of its deltas.
  float* w_h_t;  // [blocks of h][blocks][n r z][lanes][lanes of h]
  float* w_x_t;  // [blocks of x][blocks][r z n][lanes][lanes of x]

  static int64_t floats(const Sizes& s, bool is_backward) {
    const int64_t forward = s.blocks() * kLanes * (3 * (s.inputs + s.units) + 4);
    const int64_t transposed = 3 * s.padded() * kLanes * (s.blocks() + s.input_blocks());
    return forward + (is_backward ? transposed : 0);
  }

  PackedWeights() = default;
  PackedWeights(const Sizes& s, float* memory) {
    w_x = memory;
    w_h = w_x + s.blocks() * s.inputs * 3 * kLanes;
    bias = w_h + s.blocks() * s.units * 3 * kLanes;
    w_h_t = bias + s.blocks() * 4 * kLanes;
    w_x_t = w_h_t + 3 * s.padded() * kLanes * s.blocks();
  }

  // Packs one block of units. Threads may pack different blocks at the same time.
  void pack(const Layer& layer, int64_t block, bool is_backward) const {
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
    if (!is_backward) return;

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

// The packed weights of every model. If its rows are split over tasks, they are packed once, before
// the tasks run; otherwise the worker that computes the model packs them into its own memory.
class PackedModels {
 public:
  PackedModels(Pool& pool, const Arguments& arguments, const BatchSplit& split, bool is_backward)
      : arguments_(arguments),
        is_backward_(is_backward),
        floats_((PackedWeights::floats(arguments.size, is_backward) + 15) / 16 * 16),
        shared_(split.parts() > 1),
        memory_(floats_ * (shared_ ? arguments.size.models : split.workers())) {
    if (!shared_) return;
    const int64_t blocks = arguments.size.blocks();
    parallel_for(pool, arguments.size.models * blocks, split.threads(), [&](int64_t task, int) {
      const int64_t m = task / blocks;
      at(m).pack(arguments_.layer(m), task % blocks, is_backward_);
    });
  }

  PackedWeights get(const Layer& layer, int64_t model, int worker) const {
    if (shared_) return at(model);
    const PackedWeights weights = at(worker);
    for (int64_t j = 0; j < layer.size.blocks(); ++j) weights.pack(layer, j, is_backward_);
    return weights;
  }

 private:
  PackedWeights at(int64_t index) const {
    return PackedWeights(arguments_.size, memory_.get() + index * floats_);
  }

  const Arguments& arguments_;
  const bool is_backward_;
  const int64_t floats_;
  const bool shared_;
  const AlignedFloats memory_;
};

}  // namespace grujax
