// Which rows and units of which model a thread computes, and where they are in memory.
#pragma once

#include "device.cuh"

// The rows of a cluster. `sizes` is {T, B, clusters per model, which models run in reverse (bit 0:
// even ones, bit 1: odd ones), which operands have a leading axis of models (one bit each), how
// many models `projected` interleaves}.
struct Coordinates {
  int steps, batch, model, first_row;
  Index step_stride, row_stride;  // within [T, B, ...]
  bool reverse;
  int batched;  // one bit per operand

  __device__ __forceinline__ Coordinates(const int* sizes) {
    steps = sizes[0];
    batch = sizes[1];
    step_stride = BATCH_MAJOR ? 1 : batch;
    row_stride = BATCH_MAJOR ? steps : 1;
    model = cluster_index() / sizes[2];
    first_row = cluster_index() % sizes[2] * ROWS;
    reverse = sizes[3] >> (model & 1) & 1;
    batched = sizes[4];
  }

  // This model's part of an operand with `size` numbers per model.
  template <typename Number>
  __device__ __forceinline__ Number* select_model(Number* operand, int bit, Index size) const {
    return operand + (batched >> bit & 1 ? model * size : 0);
  }

  __device__ __forceinline__ Index time(int step) const {
    return reverse ? steps - 1 - step : step;
  }
};

// The indices of a lane's slots in `[B, H]`, and in one step of `[T, B, H]`; there, the offset is
// from the lane's first slot.
template <typename Product>
struct Slots {
  int first_row, first_unit, rows;
  Index row_stride, first, first_step_index;

  __device__ __forceinline__ Slots(const Product& product, const Coordinates& coordinates)
      : row_stride(coordinates.row_stride) {
    first_row = coordinates.first_row + product.first_row();
    first_unit = product.first_unit_of_lane();
    const int end = coordinates.first_row + ROWS;
    rows = end < coordinates.batch ? end : coordinates.batch;
    first = Index(first_row) * HIDDEN + first_unit;
    first_step_index = first_row * row_stride * HIDDEN + first_unit;
  }

  __device__ __forceinline__ int row(int slot) const { return first_row + Product::row_of(slot); }
  __device__ __forceinline__ int unit(int slot) const {
    return first_unit + Product::unit_of(slot);
  }
  __device__ __forceinline__ bool is_valid(int slot) const { return row(slot) < rows; }
  __device__ __forceinline__ Index state_index(int slot) const {
    return first + (Product::row_of(slot) * HIDDEN + Product::unit_of(slot));
  }
  __device__ __forceinline__ Index step_index(int slot) const {
    return first_step_index + step_offset(slot);
  }
  __device__ __forceinline__ Index step_offset(int slot) const {
    return Product::row_of(slot) * row_stride * HIDDEN + Product::unit_of(slot);
  }
};
