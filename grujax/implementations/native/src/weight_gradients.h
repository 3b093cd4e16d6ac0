// The gradients of the weights: sums of outer products over rows.
#pragma once

#include "gru.h"

namespace grujax {

// Copies [rows][cells of stride] to cells along the rows, [groups][cells of rows][kRows], so that a
// tile reads contiguous operands. The last group is padded with zeros.
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

struct WeightGradientSums {
  float* w_x;   // [blocks][input_groups · kRows][r z n][lanes]
  float* w_h;   // [blocks][unit_groups · kRows][n r z][lanes]
  float* bias;  // [blocks][c r z n][lanes], c the recurrent product

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
  template <class Product>
  static void add_rows(int64_t rows, const float* deltas, int first, float* to) {
    Vector sums[4] = {};
    for (int64_t row = 0; row < rows; row += Product::kPerCell, deltas += 4 * kLanes)
      for (int k = first; k < 4; ++k)
        sums[k] = Product::add_cells(load(deltas + k * kLanes), sums[k]);
    for (int k = first; k < 4; ++k) store(to + k * kLanes, load(to + k * kLanes) + sums[k]);
  }

  template <class Product, int G>
  static void add_outer(int64_t rows, int64_t groups, const float* packed, const float* deltas,
                        float* to) {
    const int64_t steps = cells<Product>(rows);
    for (int64_t group = 0; group < groups; ++group, to += kRows * 3 * kLanes) {
      Vector sums[kRows][1][G];
#pragma GCC unroll 8
      for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 8
        for (int g = 0; g < G; ++g) sums[m][0][g] = load(to + (m * 3 + g) * kLanes);
      multiply<Product>(sums, steps, packed + group * steps * kRows, 1, kRows, deltas, 4 * kLanes,
                        0);
#pragma GCC unroll 8
      for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 8
        for (int g = 0; g < G; ++g) store(to + (m * 3 + g) * kLanes, sums[m][0][g]);
    }
  }
};

// Adds up the sums of all parts, in order, and writes them in the layout of the weights.
inline void write_weights(const Arguments& arguments, const BackwardResults& results, int64_t model,
                          int64_t parts, const float* sums, int64_t sums_floats) {
  const Sizes& s = arguments.size;
  const int64_t H = s.units;
  const WeightGradientSums first(s, const_cast<float*>(sums));
  auto write = [&](const float* from, const Floats& to, int64_t at, int lanes) {
    Vector total = load(from);
    for (int64_t part = 1; part < parts; ++part) total += load(from + part * sums_floats);
    to.set(at, total, lanes);
  };
  const Floats w_x = results.w_x.of(model, 3 * s.inputs * H);
  const Floats w_h = results.w_h.of(model, 3 * H * H);
  const Floats b_x = results.b_x.of(model, 3 * H);
  const Floats b_hn = results.b_hn.of(model, H);
  for (int64_t j = 0; j < s.blocks(); ++j) {
    const int lanes = s.lanes(j);
    const int64_t at = j * kLanes;
    for (int g = 0; g < 3; ++g) {
      for (int64_t k = 0; k < s.inputs; ++k)
        write(first.w_x + ((j * s.input_groups() * kRows + k) * 3 + g) * kLanes, w_x,
              (g * s.inputs + k) * H + at, lanes);
      const int sums_gate = (g + 1) % 3;  // their order is n r z
      for (int64_t k = 0; k < H; ++k)
        write(first.w_h + ((j * s.unit_groups() * kRows + k) * 3 + sums_gate) * kLanes, w_h,
              (g * H + k) * H + at, lanes);
      write(first.bias + (j * 4 + 1 + g) * kLanes, b_x, g * H + at, lanes);
    }
    const int product_row = arguments.reset_after ? 0 : 3;
    write(first.bias + (j * 4 + product_row) * kLanes, b_hn, at, lanes);
  }
}

}  // namespace grujax
