// How the blocks of a cluster exchange messages, through distributed shared memory.
//
// A message is `[ROWS, STRIDE]` words. Two buffers alternate: a block can write the next message
// while others still read the last one. No block can be two messages ahead, because each message
// depends on the previous one of all blocks.
#pragma once

#include "device.cuh"

template <typename Product>
struct Exchange {
  unsigned* buffers;

  __device__ __forceinline__ Exchange() {
    buffers = reinterpret_cast<unsigned*>(shared_memory());
    if (CLUSTER > 1) {  // before a block starts, nobody may write to it
      arrive_at_cluster();
      wait_for_cluster();
    }
  }

  __device__ __forceinline__ unsigned* message(int number) const {
    return buffers + (number & 1) * ROWS * Product::STRIDE;
  }

  // Stores a word at `index` of the message of every block. Words travel in quads of four lanes,
  // whose lane numbers differ in these two bits; each lane stores the quad in different blocks.
  template <int LOWER_BIT, int UPPER_BIT>
  __device__ __forceinline__ void store_remote(int number, int index, unsigned word,
                                               bool is_row) const {
    if constexpr (CLUSTER == 1) {
      if (is_row) message(number)[index] = word;
      return;
    }
    const bool is_second = thread_index() & LOWER_BIT, is_upper = thread_index() & UPPER_BIT;
    const unsigned other = shuffle_xor(word, LOWER_BIT);
    const unsigned pair[2] = {is_second ? other : word, is_second ? word : other};
    const unsigned others[2] = {shuffle_xor(pair[0], UPPER_BIT),
                                shuffle_xor(pair[1], UPPER_BIT)};
    const unsigned quad[4] = {
        is_upper ? others[0] : pair[0], is_upper ? others[1] : pair[1],
        is_upper ? pair[0] : others[0], is_upper ? pair[1] : others[1]};
    unsigned* address = message(number) + index / 4 * 4;
#pragma unroll
    for (int first = 0; first < CLUSTER; first += 4) {
      const int block = first + is_second + 2 * is_upper;
      store_remote_if(is_row && block < CLUSTER, address, quad, block % CLUSTER);
    }
  }

  // Call after this thread's last word of a message.
  __device__ __forceinline__ void arrive() const {
    if (CLUSTER > 1) arrive_at_cluster();
  }

  // Returns the message once all blocks have arrived.
  __device__ __forceinline__ const unsigned* wait(int number) const {
    if (CLUSTER == 1)
      sync_block();
    else
      wait_for_cluster();
    return message(number);
  }
};
