// The gradients of the weights: sums of outer products over rows.
#pragma once

#include "gru.h"

namespace grujax {

// Copies [rows][cells of stride] to cells along the rows, [groups][cells of rows][kRows], so that
// registers read contiguous operands. The last group is padded with zeros.
template <class Product>
void pack_groups(int64_t rows, int64_t groups, const float* from, int64_t stride, float* to) {
  using Entry = std::conditional_t<Product::kPerCell == 1, uint32_t, uint16_t>;
  const Entry* entries = reinterpret_cast<const Entry*>(from);
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t left = stride - group * kRows, width = left < kRows ? left : kRows;
    for (int64_t row = 0; row < rows; row += Product::kPerCell, to += kRows) {
      uint32_t packed[kRows] = {};
      for (int i = 0; i < Product::kPerCell && row + i < rows; ++i) {
        Entry of_row[kRows] = {};
        std::memcpy(of_row, entries + (row + i) * stride + group * kRows, sizeof(Entry) * width);
        for (int m = 0; m < kRows; ++m) packed[m] |= uint32_t{of_row[m]} << 16 * i;
      }
      std::memcpy(to, packed, sizeof packed);
    }
  }
}

#ifdef GRUJAX_HAS_TILES
// For tiles, [groups][kRows][cells of rows].
template <>
inline void pack_groups<TileProduct>(int64_t rows, int64_t groups, const float* from,
                                     int64_t stride, float* to) {
  const int64_t steps = cells<TileProduct>(rows), columns = groups * kRows;
  for (int64_t column = 0; column < columns; column += kLanes)
    for (int64_t cell = 0; cell < steps; cell += kLanes) {
      Vector square[kLanes];
      for (int i = 0; i < kLanes; ++i)
        square[i] = TileProduct::gather_cells(2 * (cell + i), rows, [&](int64_t row) {
          Halves halves;
          std::memcpy(&halves, from + row * cells<TileProduct>(stride) + column / 2, sizeof halves);
          return from_bfloat16(halves);
        });
      transpose(square);
      for (int i = 0; i < kLanes && column + i < columns; ++i)
        store(to + (column + i) * steps + cell, square[i],
              static_cast<int>(std::min<int64_t>(kLanes, steps - cell)));
    }
}
#endif

struct WeightGradientSums {
  float* w_x;            // [blocks][input_groups · kRows][r z n][lanes]
  float* w_h;            // [blocks][unit_groups · kRows][n r z][lanes]
  float* bias;           // [blocks][c r z n][lanes], c the recurrent product
  bool is_empty = true;  // nothing was added, and the memory may hold anything

  static int64_t floats(const Sizes& s) {
    return s.blocks() * kLanes * (3 * kRows * (s.input_groups() + s.unit_groups()) + 4);
  }

  WeightGradientSums(const Sizes& s, float* memory) {
    w_x = memory;
    w_h = w_x + s.blocks() * s.input_groups() * kRows * 3 * kLanes;
    bias = w_h + s.blocks() * s.unit_groups() * kRows * 3 * kLanes;
  }

  // Adds xᵀ·[δr δz δn] and hᵀ·[δc δr δz] to one block's sums, for deltas [rows][c r z n][lanes]
  // and packed operands, in cells along the rows. With reset before the product, `reset_states` is
  // r ∘ h, and the candidate's sums use it and δn instead of h and δc; otherwise it is null.
  template <class Product>
  void add(const Sizes& s, int64_t block, int64_t rows, const float* deltas, const float* inputs,
           const float* states, const float* reset_states) const {
    const int64_t x_groups = s.input_groups(), h_groups = s.unit_groups();
    float* to_x = w_x + block * x_groups * kRows * 3 * kLanes;
    float* to_h = w_h + block * h_groups * kRows * 3 * kLanes;
    add_rows<Product>(rows, deltas, reset_states ? 1 : 0, bias + block * 4 * kLanes);
    add_outer<Product, 3>(rows, x_groups, inputs, deltas + kLanes, to_x);
    if (!reset_states) {
      add_outer<Product, 3>(rows, h_groups, states, deltas, to_h);
    } else {
      add_outer<Product, 1>(rows, h_groups, reset_states, deltas + 3 * kLanes, to_h);
      add_outer<Product, 2>(rows, h_groups, states, deltas + kLanes, to_h + kLanes);
    }
  }

 private:
  Vector start(const float* sum) const { return is_empty ? Vector{} : load(sum); }

  template <class Product>
  void add_rows(int64_t rows, const float* deltas, int first, float* to) const {
    Vector sums[4] = {};
    for (int64_t row = 0; row < rows; row += Product::kPerCell, deltas += 4 * kLanes)
      for (int k = first; k < 4; ++k)
        sums[k] = Product::add_cells(load(deltas + k * kLanes), sums[k]);
    for (int k = first; k < 4; ++k) store(to + k * kLanes, start(to + k * kLanes) + sums[k]);
  }

  template <class Product, int G>
  void add_outer(int64_t rows, int64_t groups, const float* packed, const float* deltas,
                 float* to) const {
    const int64_t steps = cells<Product>(rows);
    auto add = [&](auto height, int64_t row) GRUJAX_INLINE_LAMBDA {
      constexpr int M = decltype(height)::value;
      constexpr bool kHasTiles = Product::kHasTiles;
      float* at = to + row * 3 * kLanes;
      Vector sums[M][1][G];
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
        for (int g = 0; g < G; ++g) sums[m][0][g] = start(at + (m * 3 + g) * kLanes);
      multiply<Product>(sums, steps, packed + row * steps, kHasTiles ? steps : 1,
                        kHasTiles ? 1 : kRows, deltas, 4 * kLanes, 0);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
        for (int g = 0; g < G; ++g) store(at + (m * 3 + g) * kLanes, sums[m][0][g]);
    };
    int64_t row = 0;
    for (; row + Product::kMostRows <= groups * kRows; row += Product::kMostRows)
      add(Constant<Product::kMostRows>{}, row);
    if (row < groups * kRows) add(Constant<kRows>{}, row);
  }
};

// The gradients of a model's weights: adds up the sums of all parts, in order, and writes them in
// the layout of the weights.
class WeightGradients {
 public:
  WeightGradients(const Arguments& arguments, const BackwardResults& results, int64_t model,
                  int64_t parts, const float* sums)
      : size_(arguments.size),
        reset_after_(arguments.reset_after),
        w_x_(results.w_x.of(model, 3 * size_.inputs * size_.units)),
        w_h_(results.w_h.of(model, 3 * size_.units * size_.units)),
        b_x_(results.b_x.of(model, 3 * size_.units)),
        b_hn_(results.b_hn.of(model, size_.units)),
        parts_(parts),
        sums_floats_(WeightGradientSums::floats(size_)),
        first_(size_, const_cast<float*>(sums)) {}

  // The rows of the weights of one gate: those of the inputs, those of the units, and the biases.
  static int64_t rows(const Sizes& s) { return s.inputs + s.units + 1; }

  // Writes these rows of all gates. Threads may write different rows at the same time.
  void write_rows(int64_t begin, int64_t end) const {
    const int64_t I = size_.inputs, H = size_.units;
    for (int64_t row = begin; row < end; ++row)
      if (row < I) {
        write_row(first_.w_x, size_.input_groups(), row, 0, w_x_ + row * H, I * H);
      } else if (row < I + H) {
        write_row(first_.w_h, size_.unit_groups(), row - I, 1, w_h_ + (row - I) * H, H * H);
      } else {
        write_biases();
      }
  }

 private:
  // Row k of a matrix of `of_gate` weights for each gate. `first` is where r is among the sums.
  void write_row(const float* from, int64_t groups, int64_t k, int first, const Floats& to,
                 int64_t of_gate) const {
    for (int g = 0; g < 3; ++g)
      for (int64_t j = 0; j < size_.blocks(); ++j)
        write(from + ((j * groups * kRows + k) * 3 + (g + first) % 3) * kLanes, to + g * of_gate,
              j);
  }

  void write_biases() const {
    const int product_row = reset_after_ ? 0 : 3;
    for (int64_t j = 0; j < size_.blocks(); ++j) {
      const float* from = first_.bias + j * 4 * kLanes;
      for (int g = 0; g < 3; ++g) write(from + (1 + g) * kLanes, b_x_ + g * size_.units, j);
      write(from + product_row * kLanes, b_hn_, j);
    }
  }

  void write(const float* from, const Floats& to, int64_t j) const {
    Vector total = load(from);
    for (int64_t part = 1; part < parts_; ++part) total += load(from + part * sums_floats_);
    to.set(j * kLanes, total, size_.lanes(j));
  }

  const Sizes size_;
  const bool reset_after_;
  const Floats w_x_, w_h_, b_x_, b_hn_;
  const int64_t parts_, sums_floats_;
  const WeightGradientSums first_;
};

}  // namespace grujax
