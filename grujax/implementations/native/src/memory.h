// Scratch memory for one call of the kernel.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

namespace grujax {

// Blocks of memory that the next calls use again: the system would have to clear new pages, which
// can take longer than the call itself. They live as long as the process.
class SpareBlocks {
 public:
  struct Block {
    float* memory;
    int64_t bytes;
  };

  static SpareBlocks& of_process() {
    static SpareBlocks& blocks = *new SpareBlocks;  // threads may run when the process ends
    return blocks;
  }

  // A block of at least so many bytes, a multiple of 64, and less than twice as many.
  Block take(int64_t bytes) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      for (size_t i = spare_.size(); i-- > 0;) {  // the last one may be in the cache
        const Block block = spare_[i];
        if (block.bytes < bytes || block.bytes >= 2 * bytes) continue;
        spare_.erase(spare_.begin() + i);
        spare_bytes_ -= block.bytes;
        return block;
      }
    }
    float* memory = static_cast<float*>(std::aligned_alloc(64, bytes));
    if (!memory) throw std::bad_alloc();
    return {memory, bytes};
  }

  void give(Block block) {
    std::lock_guard<std::mutex> lock(mutex_);
    spare_.push_back(block);
    spare_bytes_ += block.bytes;
    while (spare_bytes_ > kMaxBytes) {
      spare_bytes_ -= spare_.front().bytes;
      std::free(spare_.front().memory);
      spare_.erase(spare_.begin());
    }
  }

 private:
#ifdef __SANITIZE_ADDRESS__
  static constexpr int64_t kMaxBytes = 0;  // an access beside a block is found
#else
  static constexpr int64_t kMaxBytes = 64 << 20;
#endif

  std::mutex mutex_;
  std::vector<Block> spare_;
  int64_t spare_bytes_ = 0;
};

// Memory for floats, aligned to cache lines.
class AlignedFloats {
 public:
  explicit AlignedFloats(int64_t floats)
      : block_(SpareBlocks::of_process().take((floats / 16 + 1) * 64)) {}
  AlignedFloats(const AlignedFloats&) = delete;
  AlignedFloats& operator=(const AlignedFloats&) = delete;
  ~AlignedFloats() { SpareBlocks::of_process().give(block_); }

  float* get() const { return block_.memory; }

 private:
  const SpareBlocks::Block block_;
};

// Hands out one block of memory piece by piece. Without a block, it counts how much is needed.
class ScratchArena {
 public:
  explicit ScratchArena(float* memory = nullptr) : memory_(memory) {}

  float* floats(int64_t number) {
    float* piece = memory_ ? memory_ + used_ : nullptr;
    used_ += (number + 15) / 16 * 16;  // whole cache lines
    return piece;
  }

  uint8_t* bytes(int64_t number) { return reinterpret_cast<uint8_t*>(floats((number + 3) / 4)); }

  int64_t used() const { return used_; }

 private:
  float* memory_;
  int64_t used_ = 0;
};

}  // namespace grujax
