// The GRU over a whole sequence in one launch, on NVIDIA GPUs with clusters of blocks (sm_90 on).
//
// A cluster takes some rows of one model's batch over all time. Each of its blocks has some units,
// whose recurrent weights stay in the registers of its threads from the first step to the last. A
// step is: multiply what all units hold with these weights, add the parts up between the lanes of
// a warp, evaluate the gates, and give the results to all blocks of the cluster, through shared
// memory. That is one barrier a step. What depends on no earlier state, the inputs' projection and
// the gradients of all weights, are matrix products over all steps, outside.
//
//   forward    h'[u] = GRU(Σ_k seen[k]·w_h[gate][k][u], ...)     what is given on: the state as seen
//   backward   d_h[k] = Σ_g Σ_u d_gate[g][u]·w_h[g][k][u]        what is given on: three gradients
//
// With the reset gate before the product there are two products and barriers a step: forward, those
// of r and z with the state, then that of the candidate with r ∘ seen; backward, the candidate's,
// on which the gradient of r depends, then those of r and z.
//
// Compiled for one layout, by -D:
//
//   HIDDEN     units H, a multiple of UNITS
//   CLUSTER    blocks in a cluster: 1, 2, 4 or 8
//   THREADS    threads in a block
//   ROWS       rows of the batch in a cluster
//   FORWARD_LANES, BACKWARD_LANES    over how many lanes of a warp a sum is spread, without TENSOR
//   BFLOAT16   whether sequences and states are stored as bfloat16; all else is float32
//   TENSOR     whether products are the tensor cores', of bfloat16 operands, added up in float32
//   BACKWARD   which of the two passes
//   RESET_AFTER    whether the reset gate comes after the product
//   BATCH_MAJOR    whether what is said below to be [T, B, ...] lies as [B, T, ...]
//   KEEP_GATES     whether the forward pass gives out the gates
//   STARTS, SCALE, ZONEOUT, EXISTS, KEEPS    whether these operands are there, see below
//
// The derivation of the gradient stands in grujax/implementations/scan.py.

constexpr int UNITS = HIDDEN / CLUSTER;  // of a block
constexpr int UNITS_OF_WARP = UNITS * 32 / THREADS;
constexpr int FETCHED_AHEAD = 4;  // steps, from memory into the cache
constexpr int MESSAGES = RESET_AFTER ? 1 : 2;  // of a step

#ifndef EMULATED
using Size = unsigned long long;
#define GLOBAL extern "C" __global__ void __cluster_dims__(CLUSTER, 1, 1) \
    __launch_bounds__(THREADS, 1)

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

__device__ __forceinline__ int thread_index() { return threadIdx.x; }
__device__ __forceinline__ int cluster_index() { return blockIdx.x / CLUSTER; }

__device__ __forceinline__ int block_in_cluster() {
  unsigned rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

__device__ __forceinline__ char* shared_memory() {
  extern __shared__ float4 memory[];
  return reinterpret_cast<char*>(memory);
}

__device__ __forceinline__ void wait_for_block() { __syncthreads(); }

// Between the two, a block can do what concerns no other.
__device__ __forceinline__ void arrive_at_cluster() {
  __syncwarp();
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
__device__ __forceinline__ void wait_for_cluster() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// Without a branch: after one, the compiler asks at every exchange whether the warp is whole.
__device__ __forceinline__ void send_if(bool condition, unsigned* place,
                                        const unsigned (&quad)[4], int block) {
  unsigned remote;
  asm("mapa.shared::cluster.u32 %0, %1, %2;"
      : "=r"(remote)
      : "r"(shared_address(place)), "r"(block));
  asm volatile(
      "{\n"
      ".reg .pred does;\n"
      "setp.ne.u32 does, %0, 0;\n"
      "@does st.shared::cluster.v4.u32 [%1], {%2, %3, %4, %5};\n"
      "}" ::"r"(static_cast<unsigned>(condition)),
      "r"(remote), "r"(quad[0]), "r"(quad[1]), "r"(quad[2]), "r"(quad[3])
      : "memory");
}

__device__ __forceinline__ float from_lane(float value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}

__device__ __forceinline__ unsigned word_from_lane(unsigned word, int mask) {
  return __shfl_xor_sync(0xffffffffu, word, mask);
}

// Both are exact at ±∞: an update gate of exactly 1 carries the state to the last bit.
__device__ __forceinline__ float sigmoid(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(1.0f + __expf(-x)));
  return result;
}

// Two numbers in one word, to the nearest, ties to even.
__device__ __forceinline__ unsigned to_bfloat16(float lower, float upper) {
  unsigned word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(upper), "f"(lower));
  return word;
}

// Tiles of 8 × 8 bfloat16, whose rows the lanes point to: two for 8 rows, four for 16.
__device__ __forceinline__ void load_tiles(unsigned (&tiles)[4], const unsigned* row) {
#if ROWS > 8
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(tiles[0]), "=r"(tiles[1]), "=r"(tiles[2]), "=r"(tiles[3])
               : "r"(shared_address(row))
               : "memory");
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(tiles[0]), "=r"(tiles[2])
               : "r"(shared_address(row))
               : "memory");
  tiles[1] = tiles[3] = 0;
#endif
}

// sums [16, 8] += rows [16, 16] · weights [16, 8]
__device__ __forceinline__ void multiply_tiles(float (&sums)[4], const unsigned (&rows)[4],
                                               const unsigned (&weights)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(rows[0]), "r"(rows[1]), "r"(rows[2]), "r"(rows[3]), "r"(weights[0]), "r"(weights[1]));
}

__device__ __forceinline__ void prefetch(const void* address) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
}
#endif

__device__ __forceinline__ float hyperbolic_tangent(float x) { return 2 * sigmoid(2 * x) - 1; }

// --- numbers as they are stored -----------------------------------------------------------------

#if BFLOAT16
using Stored = unsigned short;
__device__ __forceinline__ float load(Stored value) { return __uint_as_float(value * 65536u); }
__device__ __forceinline__ Stored store(float value) {
  return static_cast<Stored>(to_bfloat16(value, 0.0f));
}
#else
using Stored = float;
__device__ __forceinline__ float load(Stored value) { return value; }
__device__ __forceinline__ Stored store(float value) { return value; }
#endif
__device__ __forceinline__ float rounded(float value) { return load(store(value)); }

// --- the matrix product of a step ------------------------------------------------------------------

// What a warp multiplies with its weights is a message of all blocks, `[ROWS, STRIDE]` words of
// shared memory. Each lane ends up with the sums of some rows and units, its slots, which it owns
// over all time: it evaluates their gates, and gives the results on. Slots lie at fixed distances,
// `row_of` and `unit_of`, from the lane's first row and unit.

__device__ __forceinline__ int first_unit_of_warp() {
  return block_in_cluster() * UNITS + thread_index() / 32 * UNITS_OF_WARP;
}

#if !TENSOR
// A word is one number. Each lane adds up one part in LANES of the products of UNITS_OF_LANE units;
// then the lanes exchange, and each has the sums of one unit. Where there are more lanes than units,
// COPIES of them have the same sums, and each copy keeps other rows.
template <int OPERAND, int GATES, int LANES>
struct Product {
  static constexpr int UNITS_OF_LANE = UNITS_OF_WARP * LANES / 32;
  static constexpr int COPIES = LANES / UNITS_OF_LANE;
  static constexpr int SLOTS = (ROWS + COPIES - 1) / COPIES;
  static constexpr int ROWS_AT_ONCE = ROWS < COPIES ? ROWS : COPIES;
  static constexpr int WORDS = OPERAND;                   // of a row
  static constexpr int STRIDE = OPERAND + UNITS_OF_WARP;  // writes to several rows hit other banks
  static constexpr int QUADS = OPERAND / 4 / LANES;       // four numbers at a time
  static_assert(UNITS_OF_LANE >= 1 && COPIES >= 1 && OPERAND % (4 * LANES) == 0, "not a layout");
  static_assert(CLUSTER == 1 || UNITS_OF_WARP % 4 == 0, "no quads to give on");

  float weights[GATES][UNITS_OF_LANE][QUADS * 4];
  int part, first_unit, own_unit, copy;  // first: of the lane's sums before the exchange

  __device__ __forceinline__ Product() {
    const int lane = thread_index() % 32;
    part = lane % LANES;
    first_unit = first_unit_of_warp() + lane / LANES * UNITS_OF_LANE;
    own_unit = first_unit;
    int bit = 1;
#pragma unroll
    for (int half = UNITS_OF_LANE / 2; half > 0; half /= 2, bit *= 2)
      own_unit += part & bit ? half : 0;
    copy = part / UNITS_OF_LANE;
  }

  __device__ __forceinline__ int first_row() const { return copy; }
  __device__ __forceinline__ int first_unit_of_lane() const { return own_unit; }
  __device__ __forceinline__ static constexpr int row_of(int slot) { return slot * COPIES; }
  __device__ __forceinline__ static constexpr int unit_of(int) { return 0; }

  // `weight(gate, k, unit)` for k in the operand.
  template <typename Weight>
  __device__ __forceinline__ void load_weights(Weight weight) {
#pragma unroll
    for (int g = 0; g < GATES; ++g)
#pragma unroll
      for (int i = 0; i < UNITS_OF_LANE; ++i)
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
        float parts[GATES][UNITS_OF_LANE] = {};
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
              for (int i = 0; i < UNITS_OF_LANE; ++i)
                parts[g][i] += elements[e] * weights[g][i][q * 4 + e];
        }
        add_up(parts);
        if (copy == row)
#pragma unroll
          for (int g = 0; g < GATES; ++g) sums[slot][g] = parts[g][0];
      }
    }
  }

  // Exchanges halves of the units while there are several, then whole sums.
  __device__ __forceinline__ void add_up(float (&parts)[GATES][UNITS_OF_LANE]) const {
#pragma unroll
    for (int bit = 1, units = UNITS_OF_LANE; bit < LANES; bit *= 2, units /= 2) {
      const bool takes_upper = part & bit;
      const int half = units / 2;
#pragma unroll
      for (int g = 0; g < GATES; ++g) {
        if (half == 0) parts[g][0] += from_lane(parts[g][0], bit);
#pragma unroll
        for (int i = 0; i < half; ++i) {
          const float lower = parts[g][i], upper = parts[g][i + half];
          parts[g][i] = (takes_upper ? upper : lower) +
                        from_lane(takes_upper ? lower : upper, bit);
        }
      }
    }
  }

  // Gives on this lane's numbers as numbers `first` and on of each row, unit by unit.
  template <typename Exchange>
  __device__ __forceinline__ void give(const Exchange& exchange, int number, int first,
                                       const float (&values)[SLOTS]) const {
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
      const int row = copy + row_of(slot);
      exchange.template give<lane_bit(0), lane_bit(1)>(
          number, row * STRIDE + first + own_unit, __float_as_uint(values[slot]), row < ROWS);
    }
  }

  // In which bit of their numbers those lanes differ whose units differ in this bit.
  __device__ __forceinline__ static constexpr int lane_bit(int bit_of_unit) {
    const int bit = 1 << bit_of_unit;
    return bit < UNITS_OF_LANE ? UNITS_OF_LANE / 2 / bit : LANES * bit / UNITS_OF_LANE;
  }
};
#else
// A word is two numbers. The tensor cores take 16 rows, 8 units and 16 products at a time, and leave
// each lane the sums of two neighbouring units in one row, or in two rows eight apart. Several
// CHAINS of sums, added up at the end, hide how long one takes.
template <int OPERAND, int GATES, int>
struct Product {
  static constexpr int TILES = UNITS_OF_WARP / 8;
  static constexpr int HALVES = ROWS > 8 ? 2 : 1;
  static constexpr int SLOTS = TILES * HALVES * 2;
  static constexpr int WORDS = OPERAND / 2;
  static constexpr int STRIDE = WORDS + 4;  // eight rows' quads of words lie in different banks
  static constexpr int DEPTH = OPERAND / 16;
  static constexpr int CHAINS = GATES * TILES >= 6 ? 1 : GATES * TILES >= 2 ? 2 : 4;
  static_assert(UNITS_OF_WARP % 8 == 0 && OPERAND % 16 == 0, "not a layout");

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
    // The lanes point to the rows of tiles: rows 0 to 7, then 8 to 15 if there are, at the first
    // eight products, then the same at the last eight.
    const int tile_row = lane % 8 + (HALVES == 2 ? lane / 8 % 2 * 8 : 0);
    const int column = HALVES == 2 ? lane / 16 : lane / 8 % 2;
    const unsigned* place = message + tile_row % ROWS * STRIDE + column * 4;
    float parts[CHAINS][GATES][TILES][4] = {};
#pragma unroll
    for (int depth = 0; depth < DEPTH; ++depth) {
      unsigned rows[4];
      load_tiles(rows, place + depth * 8);
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
  __device__ __forceinline__ void give(const Exchange& exchange, int number, int first,
                                       const float (&values)[SLOTS]) const {
#pragma unroll
    for (int slot = 0; slot < SLOTS; slot += 2) {
      const int row = first_row() + row_of(slot);
      const int pair = (first + first_unit_of_lane() + unit_of(slot)) / 2;
      exchange.template give<1, 2>(number, row * STRIDE + pair,
                                   to_bfloat16(values[slot], values[slot + 1]), row < ROWS);
    }
  }
};
#endif

// --- what the blocks of a cluster give each other -------------------------------------------------

// Messages `[ROWS, STRIDE]` in two buffers in turns: a block can write the next one while others
// still read the last, and none can be two ahead, since each message needs all blocks' last one.
template <typename Product>
struct Exchange {
  unsigned* buffers;

  __device__ __forceinline__ Exchange() {
    buffers = reinterpret_cast<unsigned*>(shared_memory());
    if (CLUSTER > 1) {  // nobody writes to a block that has not begun
      arrive_at_cluster();
      wait_for_cluster();
    }
  }

  __device__ __forceinline__ unsigned* message(int number) const {
    return buffers + (number & 1) * ROWS * Product::STRIDE;
  }

  // Four lanes have a quad of words, whose places differ in the lowest two bits as the lanes'
  // numbers do in those two: each of the lanes gives the quad to other blocks.
  template <int LOWER_BIT, int UPPER_BIT>
  __device__ __forceinline__ void give(int number, int place, unsigned word, bool is_row) const {
    if constexpr (CLUSTER == 1) {
      if (is_row) message(number)[place] = word;
      return;
    }
    const bool is_second = thread_index() & LOWER_BIT, is_upper = thread_index() & UPPER_BIT;
    const unsigned other = word_from_lane(word, LOWER_BIT);
    const unsigned pair[2] = {is_second ? other : word, is_second ? word : other};
    const unsigned others[2] = {word_from_lane(pair[0], UPPER_BIT),
                                word_from_lane(pair[1], UPPER_BIT)};
    const unsigned quad[4] = {
        is_upper ? others[0] : pair[0], is_upper ? others[1] : pair[1],
        is_upper ? pair[0] : others[0], is_upper ? pair[1] : others[1]};
    unsigned* here = message(number) + place / 4 * 4;
#pragma unroll
    for (int first = 0; first < CLUSTER; first += 4) {
      const int block = first + is_second + 2 * is_upper;
      send_if(is_row && block < CLUSTER, here, quad, block % CLUSTER);
    }
  }

  // After this thread's last word of a message.
  __device__ __forceinline__ void post() const {
    if (CLUSTER > 1) arrive_at_cluster();
  }

  __device__ __forceinline__ const unsigned* receive(int number) const {
    if (CLUSTER == 1)
      wait_for_block();
    else
      wait_for_cluster();
    return message(number);
  }
};

// Where a cluster's rows lie. Sizes: {T, B, clusters of a model, which models walk backwards
// (bit 0: even ones, bit 1: odd ones), which operands have an axis of models}.
struct Place {
  int steps, batch, model, first_row;
  Size step_stride, row_stride;  // in what is [T, B, ...]
  bool reverse;
  int stacked;  // bits, see below

  __device__ __forceinline__ Place(const int* sizes) {
    steps = sizes[0];
    batch = sizes[1];
    step_stride = BATCH_MAJOR ? 1 : batch;
    row_stride = BATCH_MAJOR ? steps : 1;
    model = cluster_index() / sizes[2];
    first_row = cluster_index() % sizes[2] * ROWS;
    reverse = sizes[3] >> (model & 1) & 1;
    stacked = sizes[4];
  }

  // The part of an operand, of `size` numbers a model, that is this model's.
  template <typename Number>
  __device__ __forceinline__ Number* own(Number* operand, int bit, Size size) const {
    return operand + (stacked >> bit & 1 ? model * size : 0);
  }

  __device__ __forceinline__ Size time(int step) const {
    return reverse ? steps - 1 - step : step;
  }
};

// Where a lane's slots lie in `[B, H]`, and in a step of `[T, B, H]`.
template <typename Product>
struct Slots {
  int first_row, first_unit, rows;
  Size row_stride, first, first_in_step;

  __device__ __forceinline__ Slots(const Product& product, const Place& place)
      : row_stride(place.row_stride) {
    first_row = place.first_row + product.first_row();
    first_unit = product.first_unit_of_lane();
    const int end = place.first_row + ROWS;
    rows = end < place.batch ? end : place.batch;
    first = Size(first_row) * HIDDEN + first_unit;
    first_in_step = first_row * row_stride * HIDDEN + first_unit;
  }

  __device__ __forceinline__ int row(int slot) const { return first_row + Product::row_of(slot); }
  __device__ __forceinline__ int unit(int slot) const {
    return first_unit + Product::unit_of(slot);
  }
  __device__ __forceinline__ bool is_row(int slot) const { return row(slot) < rows; }
  __device__ __forceinline__ Size at(int slot) const {
    return first + (Product::row_of(slot) * HIDDEN + Product::unit_of(slot));
  }
  __device__ __forceinline__ Size in_step(int slot) const {
    return first_in_step +
           (Product::row_of(slot) * row_stride * HIDDEN + Product::unit_of(slot));
  }
};

// The bits of `sizes[4]`, in the order of the operands.
enum ForwardOperand {
  OF_PROJECTED,
  OF_H0,
  OF_RESET_STATE,
  OF_W_H,
  OF_B_HN,
  OF_STARTS,
  OF_SCALE,
  OF_ZONEOUT,
  OF_EXISTS,
  OF_KEEPS
};

#if !BACKWARD
// --- forward --------------------------------------------------------------------------------------

// All operands are there, those that are not asked for as one number. `projected` is
// [models, T, B, 3, H], or [T, B, models, 3, H] where `sizes[5]` is the number of models.
GLOBAL grujax_forward(const float* projected, const Stored* h0, const Stored* reset_state,
                      const float* w_h, const float* b_hn, const bool* starts,
                      const float* scale, const float* zoneout, const bool* exists,
                      const bool* keeps, const int* sizes, Stored* h_last, Stored* hs
#if KEEP_GATES
                      ,
                      float* reset, float* update, float* candidate
#if RESET_AFTER
                      ,
                      float* product
#endif
#endif
) {
  constexpr int H = HIDDEN;
  using Sums = Product<H, RESET_AFTER ? 3 : 2, FORWARD_LANES>;
  constexpr int SLOTS = Sums::SLOTS;
  const Place place(sizes);
  const Size of_states = Size(place.batch) * H, of_model = Size(place.steps) * of_states;
  const Size row_of_projected = Size(sizes[5]) * 3 * H;
  projected += sizes[5] > 1 ? Size(place.model) * 3 * H
                            : (place.stacked >> OF_PROJECTED & 1) * place.model * of_model * 3;
  h0 = place.own(h0, OF_H0, of_states);
  reset_state = place.own(reset_state, OF_RESET_STATE, of_states);
  w_h = place.own(w_h, OF_W_H, Size(3) * H * H);
  b_hn = place.own(b_hn, OF_B_HN, H);
  starts = place.own(starts, OF_STARTS, Size(place.steps) * place.batch);
  scale = place.own(scale, OF_SCALE, of_states);
  zoneout = place.own(zoneout, OF_ZONEOUT, 1);
  exists = place.own(exists, OF_EXISTS, Size(place.steps) * place.batch);
  keeps = place.own(keeps, OF_KEEPS, of_model);
  h_last += place.model * of_states;
  hs += place.model * of_model;
#if KEEP_GATES
  reset += place.model * of_model;
  update += place.model * of_model;
  candidate += place.model * of_model;
#if RESET_AFTER
  product += place.model * of_model;
#endif
#endif

  Sums product_of;
  product_of.load_weights([&](int g, int k, int u) { return w_h[(Size(g) * H + k) * H + u]; });
#if !RESET_AFTER
  Product<H, 1, FORWARD_LANES> candidate_of;
  candidate_of.load_weights([&](int, int k, int u) { return w_h[(Size(2) * H + k) * H + u]; });
#endif
#if ZONEOUT
  const float share = zoneout[0];
#endif

  // The state of this lane's rows and units, as it is and as given on, what their next step needs,
  // and where it lies.
  float state[SLOTS], given[SLOTS], x[SLOTS][3], bias[SLOTS];
  const Slots<Sums> slots(product_of, place);
  const Size ahead = (place.reverse ? -Size(1) : 1) * place.step_stride;  // a step, in rows
#if STARTS
  bool starts_next[SLOTS];
  const auto starts_at = [&](int slot, int step) {
    if (step >= place.steps) return false;
    return starts[place.time(step) * place.step_stride + slots.row(slot) * place.row_stride];
  };
#endif
  const Size next_inputs = ahead * row_of_projected;
  Size next = place.time(0) * place.step_stride + slots.first_row * place.row_stride;
  const float* inputs = projected + next * row_of_projected + slots.first_unit;
#if EXISTS
  bool is_step[SLOTS];  // the one whose inputs were fetched
#endif
  const auto fetch = [&](int slot, bool is_far_from_end) {
    const float* of_slot =
        inputs + Sums::row_of(slot) * place.row_stride * row_of_projected + Sums::unit_of(slot);
#pragma unroll
    for (int g = 0; g < 3; ++g) x[slot][g] = of_slot[g * H];
    if (is_far_from_end) {
#pragma unroll
      for (int g = 0; g < 3; ++g) prefetch(of_slot + next_inputs * FETCHED_AHEAD + g * H);
    }
    const Size row = next + Sums::row_of(slot) * place.row_stride;
    bool stays = false;
#if EXISTS
    is_step[slot] = exists[row];
    stays = !is_step[slot];
#endif
#if KEEPS
    const bool* of_unit = keeps + row * H + slots.unit(slot);
    stays |= *of_unit;
    if (is_far_from_end) prefetch(of_unit + ahead * H * FETCHED_AHEAD);
#endif
    if (stays) x[slot][1] = __uint_as_float(0x7f800000u);  // +inf: an update gate of 1
  };
  const auto seen = [&](float (&states)[SLOTS]) {
#if SCALE
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot)
      states[slot] = slots.is_row(slot) ? rounded(scale[slots.at(slot)] * states[slot]) : 0.0f;
#endif
  };
#pragma unroll
  for (int slot = 0; slot < SLOTS; ++slot) {
    const bool is_row = slots.is_row(slot);
    state[slot] = is_row ? load(h0[slots.at(slot)]) : 0.0f;
    bias[slot] = b_hn[slots.unit(slot)];
    x[slot][0] = x[slot][1] = x[slot][2] = 0.0f;
#if STARTS
    starts_next[slot] = is_row && starts_at(slot, 1);
    if (is_row && starts_at(slot, 0)) state[slot] = load(reset_state[slots.at(slot)]);
#endif
    if (is_row) fetch(slot, FETCHED_AHEAD < place.steps);
  }
  inputs += next_inputs;
  next += ahead;

  const Exchange<Sums> exchange;
#pragma unroll
  for (int slot = 0; slot < SLOTS; ++slot) given[slot] = state[slot];
  seen(given);
  product_of.give(exchange, 0, 0, given);
  exchange.post();
  Size here = place.time(0) * place.step_stride * H;
  for (int step = 0; step < place.steps; ++step, here += ahead * H) {
    const unsigned* message = exchange.receive(step * MESSAGES);
    const bool is_last = step + 1 == place.steps;
    float sums[SLOTS][RESET_AFTER ? 3 : 2], gates[SLOTS][4], outputs[SLOTS];
    product_of.multiply(message, sums);
#if !RESET_AFTER
    float of_candidate[SLOTS][1];
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
      gates[slot][0] = sigmoid(x[slot][0] + sums[slot][0]);
      given[slot] *= gates[slot][0];
    }
    candidate_of.give(exchange, step * MESSAGES + 1, 0, given);
    exchange.post();
    candidate_of.multiply(exchange.receive(step * MESSAGES + 1), of_candidate);
#endif
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
      const float z = sigmoid(x[slot][1] + sums[slot][1]);
#if RESET_AFTER
      const float r = sigmoid(x[slot][0] + sums[slot][0]);
      const float c = sums[slot][2] + bias[slot];
      const float n = hyperbolic_tangent(x[slot][2] + r * c);
      gates[slot][0] = r;
      gates[slot][3] = c;
#else
      const float n = hyperbolic_tangent(x[slot][2] + (of_candidate[slot][0] + bias[slot]));
#endif
#if ZONEOUT
      const float u = z + share * (1 - z);
#else
      const float u = z;
#endif
      outputs[slot] = u == 1.0f ? state[slot] : rounded(u * state[slot] + (1 - u) * n);
      state[slot] = outputs[slot];
#if STARTS
      if (starts_next[slot] && !is_last) state[slot] = load(reset_state[slots.at(slot)]);
#endif
      given[slot] = state[slot];
      gates[slot][1] = z;
      gates[slot][2] = n;
    }
    seen(given);
    if (!is_last) {
      product_of.give(exchange, (step + 1) * MESSAGES, 0, given);
      exchange.post();
    }
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {  // while the message is under way
      if (!slots.is_row(slot)) continue;
      const Size index = here + slots.in_step(slot);
#if EXISTS
      hs[index] = is_step[slot] ? store(outputs[slot]) : Stored(0);
#else
      hs[index] = store(outputs[slot]);
#endif
#if KEEP_GATES
      reset[index] = gates[slot][0];
      update[index] = gates[slot][1];
      candidate[index] = gates[slot][2];
#if RESET_AFTER
      product[index] = gates[slot][3];
#endif
#endif
      if (is_last) continue;
      fetch(slot, step + 1 + FETCHED_AHEAD < place.steps);
#if STARTS
      starts_next[slot] = starts_at(slot, step + 2);
#endif
    }
    inputs += next_inputs;
    next += ahead;
  }
#pragma unroll
  for (int slot = 0; slot < SLOTS; ++slot)
    if (slots.is_row(slot)) h_last[slots.at(slot)] = store(state[slot]);
}

#else
// --- backward -------------------------------------------------------------------------------------

enum BackwardOperand {
  D_RESET,
  D_UPDATE,
  D_CANDIDATE,
#if RESET_AFTER
  D_PRODUCT,
#endif
  D_BEFORE,
  D_HS,
  D_LAST,
  D_W_H,
  D_STARTS,
  D_SCALE,
  D_ZONEOUT,
  D_EXISTS
};

// `before` is the state before each step, as the walk had it; `d_hs` the gradient that comes in at
// each step, and `d_last` at the walk's end. Gives δr, δz, δn as [models, T, B, 3, H] in `d_x`, and,
// where they differ, δr, δz, δc in `d_products`.
GLOBAL grujax_backward(const float* reset, const float* update, const float* candidate,
#if RESET_AFTER
                       const float* product,
#endif
                       const Stored* before, const Stored* d_hs, const Stored* d_last,
                       const float* w_h, const bool* starts, const float* scale,
                       const float* zoneout, const bool* exists, const int* sizes, Stored* d_x,
#if RESET_AFTER
                       Stored* d_products,
#endif
                       float* d_h0, float* d_reset_state) {
  constexpr int H = HIDDEN;
  using Sums = Product<(RESET_AFTER ? 3 : 2) * H, 1, BACKWARD_LANES>;
  constexpr int SLOTS = Sums::SLOTS;
  const Place place(sizes);
  const Size of_states = Size(place.batch) * H, of_model = Size(place.steps) * of_states;
  reset = place.own(reset, D_RESET, of_model);
  update = place.own(update, D_UPDATE, of_model);
  candidate = place.own(candidate, D_CANDIDATE, of_model);
#if RESET_AFTER
  product = place.own(product, D_PRODUCT, of_model);
  d_products += place.model * of_model * 3;
#endif
  before = place.own(before, D_BEFORE, of_model);
  d_hs = place.own(d_hs, D_HS, of_model);
  d_last = place.own(d_last, D_LAST, of_states);
  d_x += place.model * of_model * 3;
  d_h0 += place.model * of_states;
  d_reset_state += place.model * of_states;
  w_h = place.own(w_h, D_W_H, Size(3) * H * H);
  starts = place.own(starts, D_STARTS, Size(place.steps) * place.batch);
  scale = place.own(scale, D_SCALE, of_states);
  zoneout = place.own(zoneout, D_ZONEOUT, 1);
  exists = place.own(exists, D_EXISTS, Size(place.steps) * place.batch);

  Sums product_of;
  product_of.load_weights([&](int, int j, int k) {
    return w_h[(Size(j / H) * H + k) * H + j % H];
  });
#if !RESET_AFTER
  Product<H, 1, BACKWARD_LANES> candidate_of;
  candidate_of.load_weights([&](int, int j, int k) { return w_h[(Size(2) * H + k) * H + j]; });
#endif
#if ZONEOUT
  const float share = zoneout[0];
#endif

  float d_state[SLOTS], d_reset[SLOTS], kept[SLOTS][4], h[SLOTS], d_here[SLOTS];
  const Slots<Sums> slots(product_of, place);
  const Size back = (place.reverse ? 1 : -Size(1)) * place.step_stride * H;  // a step, in time
  const auto fetch = [&](int slot, Size here, bool is_far_from_end) {
    const Size index = here + slots.in_step(slot);
    kept[slot][0] = reset[index];
    kept[slot][1] = update[index];
    kept[slot][2] = candidate[index];
#if RESET_AFTER
    kept[slot][3] = product[index];
#endif
    h[slot] = load(before[index]);
    d_here[slot] = load(d_hs[index]);
#if EXISTS
    if (!exists[here / H + slots.row(slot) * place.row_stride]) d_here[slot] = 0.0f;
#endif
    if (!is_far_from_end) return;
    const Size later = index + back * FETCHED_AHEAD;
    prefetch(reset + later);
    prefetch(update + later);
    prefetch(candidate + later);
#if RESET_AFTER
    prefetch(product + later);
#endif
    prefetch(before + later);
    prefetch(d_hs + later);
  };
  const auto scaling = [&](int slot) {
#if SCALE
    return slots.is_row(slot) ? scale[slots.at(slot)] : 0.0f;
#else
    return 1.0f;
#endif
  };
  Size here = place.time(place.steps - 1) * place.step_stride * H;
#pragma unroll
  for (int slot = 0; slot < SLOTS; ++slot) {
    d_state[slot] = slots.is_row(slot) ? load(d_last[slots.at(slot)]) : 0.0f;
    d_reset[slot] = h[slot] = d_here[slot] = 0.0f;
    kept[slot][0] = kept[slot][1] = kept[slot][2] = kept[slot][3] = 0.0f;
    if (slots.is_row(slot)) fetch(slot, here, FETCHED_AHEAD < place.steps);
  }

  const Exchange<Sums> exchange;
  for (int number = 0; number < place.steps; ++number, here += back) {
    float d_r[SLOTS], d_z[SLOTS], d_n[SLOTS];
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
      const float z = kept[slot][1], n = kept[slot][2];
      const float d = d_state[slot] + d_here[slot];
#if ZONEOUT
      const float u = z + share * (1 - z), rate = 1 - share;
#else
      const float u = z, rate = 1;
#endif
      d_n[slot] = d * (1 - u) * (1 - n * n);
      d_z[slot] = d * (h[slot] - n) * z * (1 - z) * rate;
      d_state[slot] = d * u;
    }
    const int last = (number + 1) * MESSAGES - 1;
#if RESET_AFTER
    float d_c[SLOTS];
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
      const float r = kept[slot][0];
      d_c[slot] = d_n[slot] * r;
      d_r[slot] = d_c[slot] * kept[slot][3] * (1 - r);
    }
    product_of.give(exchange, last, 2 * H, d_c);
#else
    float d_seen[SLOTS][1];  // through the candidate: of r ∘ seen
    candidate_of.give(exchange, last - 1, 0, d_n);
    exchange.post();
    candidate_of.multiply(exchange.receive(last - 1), d_seen);
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
      const float r = kept[slot][0], through = d_seen[slot][0] * r;
      const float factor = scaling(slot);
      d_r[slot] = through * rounded(factor * h[slot]) * (1 - r);
      d_state[slot] += factor * through;
    }
#endif
    product_of.give(exchange, last, 0, d_r);
    product_of.give(exchange, last, H, d_z);
    exchange.post();
#if STARTS
    bool starts_here[SLOTS];
#endif
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {  // while the message is under way
#if STARTS
      starts_here[slot] = false;
#endif
      if (!slots.is_row(slot)) continue;
      const Size row = here / H + slots.row(slot) * place.row_stride;
      Stored* of_inputs = d_x + row * 3 * H + slots.unit(slot);
      of_inputs[0] = store(d_r[slot]);
      of_inputs[H] = store(d_z[slot]);
      of_inputs[2 * H] = store(d_n[slot]);
#if RESET_AFTER
      Stored* of_products = d_products + (of_inputs - d_x);
      of_products[0] = store(d_r[slot]);
      of_products[H] = store(d_z[slot]);
      of_products[2 * H] = store(d_c[slot]);
#endif
#if STARTS
      starts_here[slot] = starts[row];
#endif
      if (number + 1 < place.steps)
        fetch(slot, here + back, number + 1 + FETCHED_AHEAD < place.steps);
    }
    float sums[SLOTS][1];
    product_of.multiply(exchange.receive(last), sums);
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
      d_state[slot] += scaling(slot) * sums[slot][0];
#if STARTS
      if (starts_here[slot]) {
        d_reset[slot] += d_state[slot];
        d_state[slot] = 0.0f;
      }
#endif
    }
  }
#pragma unroll
  for (int slot = 0; slot < SLOTS; ++slot)
    if (slots.is_row(slot)) {
      d_h0[slots.at(slot)] = d_state[slot];
      d_reset_state[slots.at(slot)] = d_reset[slot];
    }
}
#endif
