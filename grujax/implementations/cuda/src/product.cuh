// The recurrent matrix product of a step.
//
// A warp multiplies its weights with a message from all blocks, `[ROWS, STRIDE]` words of shared
// memory. Each lane ends up with the sums of some (row, unit) pairs, its slots. It owns the same
// slots at every step: it evaluates their gates and sends the results to all blocks. `row_of` and
// `unit_of` are a slot's fixed offsets from the lane's first row and unit.
#pragma once

#include "device.cuh"
#include "layout.cuh"

__device__ __forceinline__ int first_unit_of_warp() {
  return block_in_cluster() * UNITS_PER_BLOCK + thread_index() / 32 * UNITS_PER_WARP;
}

#if TENSOR
#include "tensor_product.cuh"
#else
#include "lane_product.cuh"
#endif
