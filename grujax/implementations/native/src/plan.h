// Who computes which rows of which model, with which memory.
#pragma once

#include "chunk.h"
#include "gru.h"

namespace grujax {

// Which rows a task takes: all of a model where there are enough models for all threads, else a
// part of its rows. A part is walked in slices, each over all time.
class Plan {
 public:
  Plan(const Sizes& size, int64_t threads) : size_(size) {
    // Below this many multiplications a helper is not worth waking.
    constexpr double kLeastWork = 4e5;
    const double work = 3. * size.models * size.steps * size.rows * size.units *
                        (size.units + size.inputs);
    threads_ = work < kLeastWork ? 1 : threads;
    const int64_t wanted = (threads_ + size.models - 1) / size.models;
    parts_ = std::max<int64_t>(1, std::min(wanted, size.rows / kRowUnit));
  }

  int64_t parts() const { return parts_; }
  int64_t tasks() const { return size_.models * parts_; }
  int64_t threads() const { return threads_; }
  int64_t workers() const { return std::min(tasks(), threads_); }

  // The largest slice that any task has.
  Slice largest() const {
    const int64_t number = std::min(kMostRows, bound(1) - bound(0) + kRowUnit);
    const int64_t rows = std::min(size_.rows, number);
    return {0, rows, positions_of_chunk(size_, rows)};
  }

  template <class F>
  void for_slices(int64_t part, F&& f) const {
    const int64_t begin = bound(part), end = bound(part + 1);
    const int64_t slices = (end - begin + kMostRows - 1) / kMostRows;
    for (int64_t i = 0; i < slices; ++i) {
      const int64_t from = begin + units(end - begin) * i / slices * kRowUnit;
      const int64_t to = std::min(end, begin + units(end - begin) * (i + 1) / slices * kRowUnit);
      f(Slice{from, to - from, largest().positions});
    }
  }

 private:
  static constexpr int64_t kRowUnit = 4;

  static int64_t units(int64_t rows) { return (rows + kRowUnit - 1) / kRowUnit; }

  int64_t bound(int64_t part) const {
    return std::min(size_.rows, units(size_.rows) * part / parts_ * kRowUnit);
  }

  const Sizes size_;
  int64_t threads_, parts_;
};

// Memory for floats, on cache lines.
class Memory {
 public:
  explicit Memory(int64_t floats)
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

// Every model's packed weights: where its rows are split, they are packed once, before; else in
// the memory of whoever takes the model.
class PackedModels {
 public:
  PackedModels(Pool& pool, const Arguments& arguments, const Plan& plan, bool gradient)
      : arguments_(arguments),
        gradient_(gradient),
        floats_((Weights::floats(arguments.size, gradient) + 15) / 16 * 16),
        shared_(plan.parts() > 1),
        memory_(floats_ * (shared_ ? arguments.size.models : plan.workers())) {
    if (!shared_) return;
    const int64_t blocks = arguments.size.blocks();
    parallel_for(pool, arguments.size.models * blocks, plan.threads(), [&](int64_t task, int) {
      const int64_t m = task / blocks;
      at(m).pack(arguments_.layer(m), task % blocks, gradient_);
    });
  }

  Weights get(const Layer& layer, int64_t model, int worker) const {
    if (shared_) return at(model);
    const Weights weights = at(worker);
    for (int64_t j = 0; j < layer.size.blocks(); ++j) weights.pack(layer, j, gradient_);
    return weights;
  }

 private:
  Weights at(int64_t index) const {
    return Weights(arguments_.size, memory_.get() + index * floats_);
  }

  const Arguments& arguments_;
  const bool gradient_;
  const int64_t floats_;
  const bool shared_;
  const Memory memory_;
};

}  // namespace grujax
