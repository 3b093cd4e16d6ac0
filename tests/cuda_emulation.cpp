// The CUDA kernel on a host: every thread of a cluster is a thread of the machine, a warp's and a
// block's barriers are barriers, and shared memory starts as NaN. Compiled as the kernel is, by
// -DHIDDEN=... and so on, with -DEMULATED; `emulate` runs all clusters of a launch, one by one.

#include <array>
#include <barrier>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#define __device__
#define __forceinline__ inline
#define GLOBAL void

using Size = unsigned long long;

struct float4 {
  float x, y, z, w;
};

inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

struct Block {
  std::vector<float> memory;
  std::barrier<> barrier{THREADS};
  std::array<std::barrier<>, THREADS / 32> warps = make_warps();

  explicit Block(int bytes) : memory(bytes / 4, NAN) {}

  static std::array<std::barrier<>, THREADS / 32> make_warps() {
    return []<std::size_t... I>(std::index_sequence<I...>) {
      return std::array<std::barrier<>, THREADS / 32>{((void)I, std::barrier<>(32))...};
    }(std::make_index_sequence<THREADS / 32>());
  }
};

std::vector<std::unique_ptr<Block>> blocks;
std::unique_ptr<std::barrier<>> cluster_barrier;
thread_local int my_thread, my_block, my_cluster;
thread_local std::optional<std::barrier<>::arrival_token> arrival;

inline int thread_index() { return my_thread; }
inline int cluster_index() { return my_cluster; }
inline int block_in_cluster() { return my_block; }
inline Block& block() { return *blocks[my_block]; }
inline char* shared_memory() { return reinterpret_cast<char*>(block().memory.data()); }
inline void wait_for_block() { block().barrier.arrive_and_wait(); }
inline void arrive_at_cluster() { arrival = cluster_barrier->arrive(); }
inline void wait_for_cluster() { cluster_barrier->wait(std::move(*arrival)); }

inline void send_if(bool condition, unsigned* place, const unsigned (&quad)[4], int index) {
  if (!condition) return;
  const auto offset = reinterpret_cast<float*>(place) - block().memory.data();
  std::memcpy(blocks[index]->memory.data() + offset, quad, 16);
}

inline unsigned to_bfloat16(float number) {
  const unsigned bits = __float_as_uint(number);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;  // NaN
  return (bits + 0x7fffu + ((bits >> 16) & 1)) >> 16;
}
inline unsigned to_bfloat16(float lower, float upper) {
  return to_bfloat16(lower) | to_bfloat16(upper) << 16;
}

inline float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }
inline void prefetch(const void*) {}

// What all lanes of a warp hand in, for each of them to read.
template <typename Value>
std::array<Value, 32> gather(const Value& value) {
  static std::array<std::array<std::array<Value, 32>, THREADS / 32>, CLUSTER> all;
  auto& lanes = all[my_block][my_thread / 32];
  auto& barrier = block().warps[my_thread / 32];
  lanes[my_thread % 32] = value;
  barrier.arrive_and_wait();
  const auto copy = lanes;
  barrier.arrive_and_wait();
  return copy;
}

inline float from_lane(float value, int mask) { return gather(value)[my_thread % 32 ^ mask]; }
inline unsigned word_from_lane(unsigned word, int mask) {
  return gather(word)[my_thread % 32 ^ mask];
}

inline void load_tiles(unsigned (&tiles)[4], const unsigned* row) {
  const auto rows = gather(row);
  const int lane = my_thread % 32;
  for (int tile = 0; tile < 4; ++tile) {
    const bool is_there = ROWS > 8 || tile % 2 == 0;
    const int source = ROWS > 8 ? tile : tile / 2;
    tiles[tile] = is_there ? rows[source * 8 + lane / 4][lane % 4] : 0;
  }
}

inline void multiply_tiles(float (&sums)[4], const unsigned (&rows)[4],
                           const unsigned (&weights)[2]) {
  const auto a = gather(std::array{rows[0], rows[1], rows[2], rows[3]});
  const auto b = gather(std::array{weights[0], weights[1]});
  const auto number = [](unsigned word, int k) {
    return __uint_as_float(k % 2 ? word & 0xffff0000u : word << 16);
  };
  for (int i = 0; i < 4; ++i) {
    const int row = my_thread % 32 / 4, unit = my_thread % 4 * 2 + i % 2;
    for (int k = 0; k < 16; ++k)
      sums[i] += number(a[row * 4 + k % 8 / 2][i / 2 + k / 8 * 2], k) *
                 number(b[unit * 4 + k % 8 / 2][k / 8], k);
  }
}

#include "gru.cu"

template <typename Function, std::size_t... I>
void apply(Function function, void** pointers, std::index_sequence<I...>) {
  function(pointers[I]...);
}

// A kernel's parameters are pointers of all kinds.
template <typename... Parameters>
void invoke(void (*kernel)(Parameters...), void** pointers) {
  apply([&](auto... raw) { kernel(static_cast<Parameters>(raw)...); }, pointers,
        std::index_sequence_for<Parameters...>());
}

extern "C" __attribute__((visibility("default"))) void emulate(int clusters, int bytes,
                                                               void** pointers) {
  for (int cluster = 0; cluster < clusters; ++cluster) {
    blocks.clear();
    for (int i = 0; i < CLUSTER; ++i) blocks.push_back(std::make_unique<Block>(bytes));
    cluster_barrier = std::make_unique<std::barrier<>>(THREADS * CLUSTER);
    std::vector<std::thread> threads;
    for (int i = 0; i < CLUSTER * THREADS; ++i)
      threads.emplace_back([=] {
        my_cluster = cluster;
        my_block = i / THREADS;
        my_thread = i % THREADS;
#if BACKWARD
        invoke(grujax_backward, pointers);
#else
        invoke(grujax_forward, pointers);
#endif
      });
    for (auto& thread : threads) thread.join();
  }
}
