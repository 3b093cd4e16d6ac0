// The inputs of consecutive steps for some rows, copied into contiguous memory: [position][row].
// Also other copies of rows.
#pragma once

#include "memory.h"
#include "parallel.h"

namespace grujax {

// Copies `size` values of a row, and fills with zeros up to `stride`.
inline void copy_row(const Floats& from, int64_t size, float* to, int64_t stride) {
  int64_t at = 0;
  for (; at + kLanes <= size; at += kLanes) store(to + at, from.get(at, kLanes));
  Vector last = from.get(at, static_cast<int>(size - at));
  for (; at < stride; at += kLanes, last = Vector{})
    store(to + at, last, static_cast<int>(std::min<int64_t>(kLanes, stride - at)));
}

// The same for the cells of a product. Pairs are taken from bfloat16.
template <class Product>
void copy_cells(const Floats& from, int64_t size, float* to, int64_t stride) {
  if constexpr (Product::kPerCell == 1) {
    copy_row(from, size, to, stride);
  } else {
    char* bytes = reinterpret_cast<char*>(to);
    std::memcpy(bytes, from.data, 2 * size);
    std::memset(bytes + 2 * size, 0, 4 * cells<Product>(stride) - 2 * size);
  }
}

// Cells of `count` floats, a multiple of kLanes. Those of a float32 product are the floats.
template <class Product>
const float* to_cells(const float* from, int64_t count, float* memory) {
  if constexpr (Product::kPerCell == 1) return from;
  for (int64_t at = 0; at < count; at += kLanes)
    Product::store_cells(memory + at / Product::kPerCell, load(from + at));
  return memory;
}

template <class Product>
class TimeWindow {
 public:
  float* inputs;             // [rows][cells of kRows · input_groups], padded with zeros
  float* projected;          // [rows][blocks][r z n][lanes]
  uint8_t *valid, *restart;  // [rows], or null

  TimeWindow(const Layer& layer, const Slice& slice, ScratchArena& scratch)
      : layer_(layer), slice_(slice) {
    const Sizes& s = layer.size;
    const int64_t rows = slice.window_rows();
    inputs = scratch.floats((rows + Product::kRowsBeyond) *
                            cells<Product>(s.input_groups() * kRows));
    projected = scratch.floats(rows * s.padded() * 3);
    valid = layer.valid ? scratch.bytes(rows) : nullptr;
    restart = layer.restart ? scratch.bytes(rows) : nullptr;
    kept_stride_ = layer.kept_units == 1 ? 1 : s.padded();
    kept_ = layer.kept ? scratch.bytes(rows * kept_stride_) : nullptr;
  }

  void load_steps(int64_t begin, int64_t length) const {
    const Sizes& s = layer_.size;
    const int64_t stride = s.input_groups() * kRows;
    for (int64_t i = 0; i < length; ++i) {
      const int64_t from = layer_.time(begin + i) * s.rows + slice_.first_row;
      const int64_t to = i * slice_.rows;
      for (int64_t row = 0; row < slice_.rows; ++row) {
        copy_cells<Product>(layer_.xs + (from + row) * s.inputs, s.inputs,
                            inputs + (to + row) * cells<Product>(stride), stride);
        if (kept_) {
          const int64_t units = layer_.kept_units;
          uint8_t* of_row = kept_ + (to + row) * kept_stride_;
          std::memcpy(of_row, layer_.kept + (from + row) * units, units);
          std::memset(of_row + units, 0, kept_stride_ - units);
        }
      }
      if (valid) std::memcpy(valid + to, layer_.valid + from, slice_.rows);
      if (restart) std::memcpy(restart + to, layer_.restart + from, slice_.rows);
    }
  }

  // From this row of the window on: [rows], or [rows][padded] for each unit, or null.
  const uint8_t* kept_at(int64_t row) const { return kept_ ? kept_ + row * kept_stride_ : nullptr; }

 private:
  const Layer& layer_;
  const Slice slice_;
  uint8_t* kept_;
  int64_t kept_stride_;
};

// The recurrent dropout mask of one row of the slice and one block of units.
GRUJAX_INLINE Vector load_dropout_mask(const Layer& layer, const Slice& slice, int64_t row,
                                       int64_t j) {
  const Sizes& s = layer.size;
  const float* mask = layer.dropout_mask + (slice.first_row + row) * s.units + j * kLanes;
  return load(mask, s.lanes(j));
}

// to = dropout_mask ∘ from, for rows of padded() floats.
inline void apply_dropout_mask(const Layer& layer, const Slice& slice, const float* from,
                               float* to) {
  const Sizes& s = layer.size;
  for (int64_t row = 0; row < slice.rows; ++row)
    for (int64_t j = 0; j < s.blocks(); ++j) {
      const int64_t at = row * s.padded() + j * kLanes;
      store(to + at, load_dropout_mask(layer, slice, row, j) * load(from + at));
    }
}

}  // namespace grujax
