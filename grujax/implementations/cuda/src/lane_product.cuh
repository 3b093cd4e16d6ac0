// The product in float32, on the CUDA cores. A message word is one number.
//
// Each lane sums 1/LANES of the products of UNITS_PER_LANE units. Then the lanes exchange partial
// sums, and each ends up with the sums of one unit. If there are more lanes than units, COPIES
// lanes hold the same sums, and each copy keeps different rows.
#pragma once

template <int OPERAND, int GATES, int LANES>
struct Product {
  static constexpr int UNITS_PER_LANE = UNITS_PER_WARP * LANES / 32;
  static constexpr int COPIES = LANES / UNITS_PER_LANE;
  static constexpr int SLOTS = (ROWS + COPIES - 1) / COPIES;
  static constexpr int ROWS_AT_ONCE = ROWS < COPIES ? ROWS : COPIES;
  static constexpr int STRIDE = OPERAND + UNITS_PER_WARP;  // so that rows use different banks
  static constexpr int QUADS = OPERAND / 4 / LANES;        // groups of four numbers
  static_assert(UNITS_PER_LANE >= 1 && COPIES >= 1 && OPERAND % (4 * LANES) == 0, "invalid layout");
  static_assert(CLUSTER == 1 || UNITS_PER_WARP % 4 == 0, "cannot send quads");

  float weights[GATES][UNITS_PER_LANE][QUADS * 4];
  int part, first_unit, unit, copy;  // first_unit: before the lanes exchange sums

  __device__ __forceinline__ Product() {
    const int lane = thread_index() % 32;
    part = lane % LANES;
    first_unit = first_unit_of_warp() + lane / LANES * UNITS_PER_LANE;
    unit = first_unit;
    int bit = 1;
#pragma unroll
    for (int half = UNITS_PER_LANE / 2; half > 0; half /= 2, bit *= 2)
      unit += part & bit ? half : 0;
    copy = part / UNITS_PER_LANE;
  }

  __device__ __forceinline__ int first_row() const { return copy; }
  __device__ __forceinline__ int first_unit_of_lane() const { return unit; }
  __device__ __forceinline__ static constexpr int row_of(int slot) { return slot * COPIES; }
  __device__ __forceinline__ static constexpr int unit_of(int) { return 0; }

  // `weight(gate, k, unit)` returns the weight of operand k.
  template <typename Weight>
  __device__ __forceinline__ void load_weights(Weight weight) {
#pragma unroll
    for (int g = 0; g < GATES; ++g)
#pragma unroll
      for (int i = 0; i < UNITS_PER_LANE; ++i)
#pragma unroll
        for (int q = 0; q < QUADS; ++q)
#pragma unroll
          for (int e = 0; e < 4; ++e)
            weights[g][i][q * 4 + e] = weight(g, (q * LANES + part) * 4 + e, first_unit + i);
  }

  __device__ __forceinline__ void multiply(const unsigned* message, float (&sums)[SLOTS][GATES]) {
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
#pragma unroll 1
      for (int row = 0; row < ROWS_AT_ONCE; ++row) {
        float parts[GATES][UNITS_PER_LANE] = {};
        const unsigned* numbers = message + (slot * COPIES + row) * STRIDE + part * 4;
#pragma unroll
        for (int q = 0; q < QUADS; ++q) {
          const float4 quad = *reinterpret_cast<const float4*>(numbers + q * LANES * 4);
          const float elements[4] = {quad.x, quad.y, quad.z, quad.w};
#pragma unroll
          for (int e = 0; e < 4; ++e)
#pragma unroll
            for (int g = 0; g < GATES; ++g)
#pragma unroll
              for (int i = 0; i < UNITS_PER_LANE; ++i)
                parts[g][i] += elements[e] * weights[g][i][q * 4 + e];
        }
        reduce_over_lanes(parts);
        if (copy == row)
#pragma unroll
          for (int g = 0; g < GATES; ++g) sums[slot][g] = parts[g][0];
      }
    }
  }

  // Exchanges halves of the units until one is left, then whole sums.
  __device__ __forceinline__ void reduce_over_lanes(float (&parts)[GATES][UNITS_PER_LANE]) const {
#pragma unroll
    for (int bit = 1, units = UNITS_PER_LANE; bit < LANES; bit *= 2, units /= 2) {
      const bool takes_upper = part & bit;
      const int half = units / 2;
#pragma unroll
      for (int g = 0; g < GATES; ++g) {
        if (half == 0) parts[g][0] += shuffle_xor(parts[g][0], bit);
#pragma unroll
        for (int i = 0; i < half; ++i) {
          const float lower = parts[g][i], upper = parts[g][i + half];
          parts[g][i] = (takes_upper ? upper : lower) +
                        shuffle_xor(takes_upper ? lower : upper, bit);
        }
      }
    }
  }

  // Sends this lane's values to all blocks, at numbers `offset` + unit of each row of the message.
  template <typename Exchange>
  __device__ __forceinline__ void store_remote(const Exchange& exchange, int message, int offset,
                                               const float (&values)[SLOTS]) const {
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
      const int row = copy + row_of(slot);
      exchange.template store_remote<lane_bit(0), lane_bit(1)>(
          message, row * STRIDE + offset + unit, __float_as_uint(values[slot]), row < ROWS);
    }
  }

  // The bit by which lane numbers differ if unit numbers differ in `bit_of_unit`.
  __device__ __forceinline__ static constexpr int lane_bit(int bit_of_unit) {
    const int bit = 1 << bit_of_unit;
    return bit < UNITS_PER_LANE ? UNITS_PER_LANE / 2 / bit : LANES * bit / UNITS_PER_LANE;
  }
};
