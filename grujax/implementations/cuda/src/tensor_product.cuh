// The product on the tensor cores, in bfloat16 with float32 sums. A message word is two numbers.
//
// The tensor cores take 16 rows, 8 units and 16 products at a time, and leave each lane the sums of
// two neighboring units in one row, or in two rows eight apart. Several CHAINS of independent sums,
// added up at the end, hide the latency.
#pragma once

template <int OPERAND, int GATES, int>
struct Product {
  static constexpr int TILES = UNITS_PER_WARP / 8;
  static constexpr int HALVES = ROWS > 8 ? 2 : 1;
  static constexpr int SLOTS = TILES * HALVES * 2;
  static constexpr int STRIDE = OPERAND / 2 + 4;  // the quads of eight rows use different banks
  static constexpr int DEPTH = OPERAND / 16;
  static constexpr int CHAINS = GATES * TILES >= 6 ? 1 : GATES * TILES >= 2 ? 2 : 4;
  static_assert(UNITS_PER_WARP % 8 == 0 && OPERAND % 16 == 0, "invalid layout");

  unsigned weights[GATES][TILES][DEPTH][2];
  int lane;

  __device__ __forceinline__ Product() : lane(thread_index() % 32) {}

  __device__ __forceinline__ int first_row() const { return lane / 4; }
  __device__ __forceinline__ int first_unit_of_lane() const {
    return first_unit_of_warp() + lane % 4 * 2;
  }
  __device__ __forceinline__ static constexpr int row_of(int slot) {
    return slot / 2 % HALVES * 8;
  }
  __device__ __forceinline__ static constexpr int unit_of(int slot) {
    return slot / 2 / HALVES * 8 + slot % 2;
  }

  template <typename Weight>
  __device__ __forceinline__ void load_weights(Weight weight) {
#pragma unroll
    for (int g = 0; g < GATES; ++g)
#pragma unroll
      for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
        for (int depth = 0; depth < DEPTH; ++depth)
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int k = depth * 16 + half * 8 + lane % 4 * 2;
            const int unit = first_unit_of_warp() + tile * 8 + lane / 4;
            weights[g][tile][depth][half] =
                to_bfloat16(weight(g, k, unit), weight(g, k + 1, unit));
          }
  }

  __device__ __forceinline__ void multiply(const unsigned* message, float (&sums)[SLOTS][GATES]) {
    // Each lane points to one row of a tile: rows 0 to 7, then 8 to 15 if present, of the first
    // eight products, then the same rows of the last eight.
    const int tile_row = lane % 8 + (HALVES == 2 ? lane / 8 % 2 * 8 : 0);
    const int column = HALVES == 2 ? lane / 16 : lane / 8 % 2;
    const unsigned* words = message + tile_row % ROWS * STRIDE + column * 4;
    float parts[CHAINS][GATES][TILES][4] = {};
#pragma unroll
    for (int depth = 0; depth < DEPTH; ++depth) {
      unsigned rows[4];
      load_tiles(rows, words + depth * 8);
#pragma unroll
      for (int g = 0; g < GATES; ++g)
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile)
          multiply_tiles(parts[depth % CHAINS][g][tile], rows, weights[g][tile][depth]);
    }
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot)
#pragma unroll
      for (int g = 0; g < GATES; ++g) {
        sums[slot][g] = 0;
#pragma unroll
        for (int chain = 0; chain < CHAINS; ++chain)
          sums[slot][g] +=
              parts[chain][g][slot / 2 / HALVES][slot / 2 % HALVES * 2 + slot % 2];
      }
  }

  template <typename Exchange>
  __device__ __forceinline__ void store_remote(const Exchange& exchange, int message, int offset,
                                               const float (&values)[SLOTS]) const {
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot += 2) {
      const int row = first_row() + row_of(slot);
      const int pair = (offset + first_unit_of_lane() + unit_of(slot)) / 2;
      exchange.template store_remote<1, 2>(message, row * STRIDE + pair,
                                           to_bfloat16(values[slot], values[slot + 1]), row < ROWS);
    }
  }
};
