// Some positions of the walk for some rows, copied side by side: [position][row].
#pragma once

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>

#include "layer.h"

namespace grujax {

// Rows that one task takes at once, at most: it bounds the scratch memory.
constexpr int64_t kMostRows = 128;
// Rows of all positions of a chunk together, about: enough for the matmuls over a whole chunk to be
// efficient, few enough to stay in the second cache.
constexpr int64_t kChunkRows = 128;

// Rows [first, first + number) of a layer, walked in chunks of `positions`.
struct Slice {
  int64_t first, number, positions;

  int64_t rows() const { return positions * number; }
};

inline int64_t positions_of_chunk(const Sizes& s, int64_t rows) {
  return std::max<int64_t>(1, std::min(s.steps, kChunkRows / rows));
}

// One block of memory, handed out piece by piece; without one, it counts what would be needed.
class Scratch {
 public:
  explicit Scratch(float* memory = nullptr) : memory_(memory) {}

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

class Chunk {
 public:
  float* inputs;                           // [rows][kRows · input_groups], padded with zeros
  float* projected;                        // [rows][blocks][r z n][lanes]
  uint8_t *exists, *starts, *keeps;        // [rows], [rows], [rows][padded]; or null

  Chunk(const Layer& layer, const Slice& slice, Scratch& scratch) : layer_(layer), slice_(slice) {
    const Sizes& s = layer.size;
    const int64_t rows = slice.rows();
    inputs = scratch.floats(rows * s.input_groups() * kRows);
    projected = scratch.floats(rows * s.padded() * 3);
    exists = layer.exists ? scratch.bytes(rows) : nullptr;
    starts = layer.starts ? scratch.bytes(rows) : nullptr;
    keeps = layer.keeps ? scratch.bytes(rows * s.padded()) : nullptr;
  }

  void load_steps(int64_t begin, int64_t positions) const {
    const Sizes& s = layer_.size;
    const int64_t stride = s.input_groups() * kRows;
    for (int64_t i = 0; i < positions; ++i) {
      const int64_t from = layer_.time(begin + i) * s.rows + slice_.first;
      const int64_t to = i * slice_.number;
      for (int64_t row = 0; row < slice_.number; ++row) {
        copy(layer_.xs + (from + row) * s.inputs, s.inputs, inputs + (to + row) * stride, stride);
        if (keeps) {
          uint8_t* kept = keeps + (to + row) * s.padded();
          std::memcpy(kept, layer_.keeps + (from + row) * s.units, s.units);
          std::memset(kept + s.units, 0, s.padded() - s.units);
        }
      }
      if (exists) std::memcpy(exists + to, layer_.exists + from, slice_.number);
      if (starts) std::memcpy(starts + to, layer_.starts + from, slice_.number);
    }
  }

  // `number` values, with zeros behind them up to `stride`.
  static void copy(const Floats& from, int64_t number, float* to, int64_t stride) {
    int64_t at = 0;
    for (; at + kLanes <= number; at += kLanes) store(to + at, from.get(at, kLanes));
    Vector last = from.get(at, static_cast<int>(number - at));
    for (; at < stride; at += kLanes, last = Vector{})
      store(to + at, last, static_cast<int>(std::min<int64_t>(kLanes, stride - at)));
  }

 private:
  const Layer& layer_;
  const Slice slice_;
};

// to = scale ∘ from, for rows of padded() floats; `scale` has no padding.
inline void scale_rows(const Layer& layer, const Slice& slice, const float* from, float* to) {
  const Sizes& s = layer.size;
  for (int64_t row = 0; row < slice.number; ++row)
    for (int64_t j = 0; j < s.blocks(); ++j) {
      const float* scale = layer.scale + (slice.first + row) * s.units + j * kLanes;
      const int64_t at = row * s.padded() + j * kLanes;
      store(to + at, load(scale, s.lanes(j)) * load(from + at));
    }
}

}  // namespace grujax
