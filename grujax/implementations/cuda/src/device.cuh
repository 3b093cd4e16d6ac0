// Device intrinsics: indices, barriers, shuffles, remote stores, tensor cores. The tests replace
// those below `EMULATED` to emulate the kernel on the host.
#pragma once

// The bits of a number as bfloat16, rounded to nearest even.
__device__ __forceinline__ unsigned bfloat16_bits(float number) {
  const unsigned bits = __float_as_uint(number);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;  // NaN
  return (bits + 0x7fffu + ((bits >> 16) & 1)) >> 16;
}

// Packs two numbers into one word of bfloat16. Turing has no instruction for it.
__device__ __forceinline__ unsigned to_bfloat16(float lower, float upper) {
#if __CUDA_ARCH__ >= 800
  unsigned word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(upper), "f"(lower));
  return word;
#else
  return bfloat16_bits(lower) | bfloat16_bits(upper) << 16;
#endif
}

#ifndef EMULATED
using Index = unsigned long long;
#if CLUSTER == 1  // runs on GPUs without clusters too
#define GLOBAL extern "C" __global__ void __launch_bounds__(THREADS, 1)
#else
#define GLOBAL extern "C" __global__ void __cluster_dims__(CLUSTER, 1, 1) \
    __launch_bounds__(THREADS, 1)
#endif

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

__device__ __forceinline__ int thread_index() { return threadIdx.x; }
__device__ __forceinline__ int cluster_index() { return blockIdx.x / CLUSTER; }

__device__ __forceinline__ int block_in_cluster() {
#if CLUSTER == 1
  return 0;
#else
  unsigned rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
#endif
}

__device__ __forceinline__ char* shared_memory() {
  extern __shared__ float4 memory[];
  return reinterpret_cast<char*>(memory);
}

__device__ __forceinline__ void sync_block() { __syncthreads(); }

// Between the two calls, a block can do work that no other block depends on.
__device__ __forceinline__ void arrive_at_cluster() {
  __syncwarp();
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
__device__ __forceinline__ void wait_for_cluster() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// Stores a quad in the shared memory of another block. Predicated rather than branched: after a
// branch, the compiler would test at every shuffle whether the warp has converged.
__device__ __forceinline__ void store_remote_if(bool condition, unsigned* address,
                                        const unsigned (&quad)[4], int block) {
  unsigned remote;
  asm("mapa.shared::cluster.u32 %0, %1, %2;"
      : "=r"(remote)
      : "r"(shared_address(address)), "r"(block));
  asm volatile(
      "{\n"
      ".reg .pred stores;\n"
      "setp.ne.u32 stores, %0, 0;\n"
      "@stores st.shared::cluster.v4.u32 [%1], {%2, %3, %4, %5};\n"
      "}" ::"r"(static_cast<unsigned>(condition)),
      "r"(remote), "r"(quad[0]), "r"(quad[1]), "r"(quad[2]), "r"(quad[3])
      : "memory");
}

__device__ __forceinline__ float shuffle_xor(float value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}

__device__ __forceinline__ unsigned shuffle_xor(unsigned word, int mask) {
  return __shfl_xor_sync(0xffffffffu, word, mask);
}

// Exact at ±∞: an update gate of exactly 1 carries the state bit for bit.
__device__ __forceinline__ float sigmoid(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(1.0f + __expf(-x)));
  return result;
}

// Loads tiles of 8 × 8 bfloat16: two for 8 rows, four for 16. Each lane points to a row of a tile.
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
