// The weights of a layer, and of all models, as the matmuls read them.
#pragma once

#include "gru.h"
#include "memory.h"

namespace grujax {

// The weights of all gates: a vector for each block of units, cell of the sum, and gate.
struct WeightMatrix {
  const float* data;
  int64_t block, cell, gate;  // from one to the next

  const float* at(int64_t j, int g = 0) const { return data + j * block + g * gate; }
};

template <class Product>
struct Weights {
  WeightMatrix x, h;
  const float* bias;  // [blocks][r z n hn][lanes], floats
  // Transposed, for the backward pass; the recurrent ones in the order of its deltas.
  const float* h_t;  // [blocks of h][blocks][n r z][cells of lanes][lanes of h]
  const float* x_t;  // [blocks of x][blocks][r z n][cells of lanes][lanes of x]
};

// Which copies of the weights a pass needs.
struct Packing {
  bool plain;       // [blocks][cells][r z n][lanes]; otherwise the weights are read where they are
  bool transposed;  // for the backward pass
};

// Whether the matmuls can read the weights where they are, and do so too seldom for a copy to pay.
template <class Product>
bool may_read_in_place(const Arguments& arguments) {
  constexpr int64_t kMaxReads = 4;
  const Sizes& s = arguments.size;
  const bool are_whole_vectors = Product::kPerCell == 1 && !arguments.w_x.is_bfloat16 &&
                                 !arguments.w_h.is_bfloat16 && s.units % kLanes == 0;
  return are_whole_vectors && s.steps * ((s.rows + kRows - 1) / kRows) <= kMaxReads;
}

// The memory for the packed weights of one model.
template <class Product>
class PackedWeights {
 public:
  PackedWeights(const Sizes& s, const Packing& packing, float* memory) : packing_(packing) {
    ScratchArena arena(memory);
    const int64_t of_cell = s.blocks() * 3 * kLanes, of_block = 3 * s.padded() * kLaneCells;
    auto take = [&](bool is_needed, int64_t number) {
      return is_needed ? arena.floats(number) : nullptr;
    };
    bias_ = take(true, s.blocks() * 4 * kLanes);
    x_ = take(packing.plain, cells<Product>(s.inputs) * of_cell);
    h_ = take(packing.plain, cells<Product>(s.units) * of_cell);
    h_t_ = take(packing.transposed, s.blocks() * of_block);
    x_t_ = take(packing.transposed, s.input_blocks() * of_block);
    floats_ = arena.used();
  }

  static int64_t floats(const Sizes& s, const Packing& packing) {
    return PackedWeights(s, packing, nullptr).floats_;
  }

  Weights<Product> of(const Layer& layer) const {
    const Sizes& s = layer.size;
    return {matrix(x_, layer.w_x, s, s.inputs), matrix(h_, layer.w_h, s, s.units), bias_, h_t_,
            x_t_};
  }

  // Packs one block of units. Threads may pack different blocks at the same time.
  void pack(const Layer& layer, int64_t block) const {
    const Sizes& s = layer.size;
    const int64_t at = block * kLanes;
    const int lanes = s.lanes(block);
    float* to = bias_ + block * 4 * kLanes;
    for (int g = 0; g < 3; ++g) store(to + g * kLanes, layer.b_x.get(g * s.units + at, lanes));
    store(to + 3 * kLanes, layer.b_hn.get(at, lanes));
    if (packing_.plain) {
      pack_plain(x_, layer.w_x, s, s.inputs, block);
      pack_plain(h_, layer.w_h, s, s.units, block);
    }
    if (packing_.transposed) {
      pack_transposed(h_t_, layer.w_h, s, s.units, block, 2);
      pack_transposed(x_t_, layer.w_x, s, s.inputs, block, 0);
    }
  }

 private:
  static constexpr int kLaneCells = kLanes / Product::kPerCell;

  WeightMatrix matrix(const float* packed, const Floats& original, const Sizes& s,
                      int64_t K) const {
    if (packing_.plain) return {packed, cells<Product>(K) * 3 * kLanes, 3 * kLanes, kLanes};
    return {static_cast<const float*>(original.data), kLanes, s.units, K * s.units};
  }

  static void pack_plain(float* to, const Floats& from, const Sizes& s, int64_t K, int64_t block) {
    to += block * cells<Product>(K) * 3 * kLanes;
    for (int g = 0; g < 3; ++g)
      for (int64_t k = 0; k < cells<Product>(K) * Product::kPerCell; k += Product::kPerCell)
        store(to + (k / Product::kPerCell * 3 + g) * kLanes,
              Product::gather_cells(k, K, [&](int64_t entry) {
                return from.get((g * K + entry) * s.units + block * kLanes, s.lanes(block));
              }));
  }

  static void pack_transposed(float* to, const Floats& from, const Sizes& s, int64_t K,
                              int64_t block, int first_gate) {
    for (int64_t column = 0; column * kLanes < K; ++column)
      for (int i = 0; i < 3; ++i) {
        const int64_t row = (i + first_gate) % 3 * K + column * kLanes;
        float* tile = to + ((column * s.blocks() + block) * 3 + i) * kLaneCells * kLanes;
        Vector square[kLanes] = {};
        for (int o = 0; o < kLanes && column * kLanes + o < K; ++o) {
          float of_row[kLanes] = {};
          Product::store_cells(of_row, from.get((row + o) * s.units + block * kLanes,
                                                s.lanes(block)));
          square[o] = load(of_row);
        }
        transpose(square);
        for (int cell = 0; cell < kLaneCells; ++cell) store(tile + cell * kLanes, square[cell]);
      }
  }

  const Packing packing_;
  float *bias_, *x_, *h_, *h_t_, *x_t_;
  int64_t floats_;
};

// The weights of every model. If threads share a model, they are packed once, before the tasks
// run; otherwise the worker that computes the model packs them into its own memory.
template <class Product>
class ModelWeights {
 public:
  ModelWeights(Pool& pool, const Arguments& arguments, const BatchSplit& split,
               const Packing& packing)
      : arguments_(arguments),
        packing_(packing),
        floats_(PackedWeights<Product>::floats(arguments.size, packing)),
        shared_(split.parts() > 1 || split.members() > 1),
        memory_(floats_ * (shared_ ? arguments.size.models : split.workers())) {
    if (!shared_) return;
    const int64_t blocks = arguments.size.blocks();
    parallel_for(pool, arguments.size.models * blocks, split.threads(), [&](int64_t task, int) {
      const int64_t m = task / blocks;
      at(m).pack(arguments_.layer(m), task % blocks);
    });
  }

  Weights<Product> get(const Layer& layer, int64_t model, int worker) const {
    const PackedWeights<Product> packed = at(shared_ ? model : worker);
    for (int64_t j = 0; !shared_ && j < layer.size.blocks(); ++j) packed.pack(layer, j);
    return packed.of(layer);
  }

 private:
  PackedWeights<Product> at(int64_t index) const {
    return PackedWeights<Product>(arguments_.size, packing_, memory_.get() + index * floats_);
  }

  const Arguments& arguments_;
  const Packing packing_;
  const int64_t floats_;
  const bool shared_;
  const AlignedFloats memory_;
};

}  // namespace grujax
