// Scratch memory for one call of the kernel.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace grujax {

// Memory for floats, aligned to cache lines.
class AlignedFloats {
 public:
  explicit AlignedFloats(int64_t floats)
      : data_(static_cast<float*>(std::aligned_alloc(64, (floats / 16 + 1) * 64))) {
    if (!data_) throw std::bad_alloc();
  }

  float* get() const { return data_.get(); }

 private:
  struct Free {
    void operator()(float* memory) const { std::free(memory); }
  };
  std::unique_ptr<float, Free> data_;
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
