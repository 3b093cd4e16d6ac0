// Both passes of all models: who computes which rows, with which memory.
#pragma once

#include <vector>

#include "backward.h"
#include "forward.h"
#include "parallel.h"

namespace grujax {

// An argument of all models: one after the other, or one that they share.
struct Operand {
  void* data = nullptr;
  bool is_half = false;
  bool is_stacked = false;

  Floats of(int64_t model, int64_t size) const {
    const Floats floats{data, is_half};
    return is_stacked ? floats + model * size : floats;
  }

  template <class T>
  T* raw(int64_t model, int64_t size) const {
    return data ? static_cast<T*>(data) + (is_stacked ? model * size : 0) : nullptr;
  }
};

struct Arguments {
  Sizes size;
  int64_t reverse;  // bit m % 2: whether model m walks from the end
  bool reset_after;
  Operand w_x, w_h, b_x, b_hn, xs, h0, reset_state;
  Operand exists, starts, keeps, zoneout, scale;  // of Masks; without data where None

  Layer layer(int64_t m) const {
    const int64_t T = size.steps, B = size.rows, I = size.inputs, H = size.units;
    Layer layer;
    layer.size = size;
    layer.reverse = reverse >> (m % 2) & 1;
    layer.reset_after = reset_after;
    layer.w_x = w_x.of(m, 3 * I * H);
    layer.w_h = w_h.of(m, 3 * H * H);
    layer.b_x = b_x.of(m, 3 * H);
    layer.b_hn = b_hn.of(m, H);
    layer.xs = xs.of(m, T * B * I);
    layer.h0 = h0.of(m, B * H);
    layer.reset_state = reset_state.of(m, B * H);
    layer.exists = exists.raw<uint8_t>(m, T * B);
    layer.starts = starts.raw<uint8_t>(m, T * B);
    layer.keeps = keeps.raw<uint8_t>(m, T * B * H);
    layer.zoneout = zoneout.raw<float>(m, 1);
    layer.scale = scale.raw<float>(m, B * H);
    return layer;
  }
};

// The gates that the forward pass keeps; without data where the backward pass recomputes them.
struct KeptGates {
  Operand reset, update, candidate, product;

  Gates of(const Sizes& s, int64_t m) const {
    const int64_t size = s.steps * s.rows * s.units;
    return {reset.raw<float>(m, size), update.raw<float>(m, size), candidate.raw<float>(m, size),
            product.raw<float>(m, size), s.units};
  }
};

struct ForwardResults {
  Operand h_last, hs;
  KeptGates gates;
};

struct BackwardArguments {
  Operand hs;
  KeptGates gates;
  Operand last, each;
};

struct BackwardResults {
  Operand w_x, w_h, b_x, b_hn, xs, h0, reset_state;
};

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
  template <class Pool>
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

template <class Pool>
void forward(Pool& pool, const Arguments& arguments, const ForwardResults& results) {
  const Sizes& s = arguments.size;
  const Plan plan(s, threads_of(pool));
  const PackedModels models(pool, arguments, plan, false);
  Scratch needed;
  Forward(arguments.layer(0), plan.largest(), needed);
  const Memory scratch(needed.used() * plan.workers());
  parallel_for(pool, plan.tasks(), plan.workers(), [&](int64_t task, int worker) {
    const int64_t m = task / plan.parts();
    const Layer layer = arguments.layer(m);
    const Weights weights = models.get(layer, m, worker);
    const Outputs outputs{results.h_last.of(m, s.rows * s.units),
                          results.hs.of(m, s.steps * s.rows * s.units), results.gates.of(s, m)};
    plan.for_slices(task % plan.parts(), [&](const Slice& slice) {
      Scratch own(scratch.get() + worker * needed.used());
      Forward(layer, slice, own).run(weights, outputs);
    });
  });
}

// Adds the parts' sums, in their order, and writes them as the weights lie.
inline void write_weights(const Arguments& arguments, const BackwardResults& results, int64_t model,
                          int64_t parts, const float* sums, int64_t sums_floats) {
  const Sizes& s = arguments.size;
  const int64_t H = s.units;
  const WeightSums first(s, const_cast<float*>(sums));
  auto write = [&](const float* from, const Floats& to, int64_t at, int lanes) {
    Vector total = load(from);
    for (int64_t part = 1; part < parts; ++part) total += load(from + part * sums_floats);
    to.set(at, total, lanes);
  };
  const Floats w_x = results.w_x.of(model, 3 * s.inputs * H);
  const Floats w_h = results.w_h.of(model, 3 * H * H);
  const Floats b_x = results.b_x.of(model, 3 * H);
  const Floats b_hn = results.b_hn.of(model, H);
  for (int64_t j = 0; j < s.blocks(); ++j) {
    const int lanes = s.lanes(j);
    const int64_t at = j * kLanes;
    for (int g = 0; g < 3; ++g) {
      for (int64_t k = 0; k < s.inputs; ++k)
        write(first.w_x + ((j * s.input_groups() * kRows + k) * 3 + g) * kLanes,
              w_x, (g * s.inputs + k) * H + at, lanes);
      const int own = (g + 1) % 3;  // the sums are in the order n r z
      for (int64_t k = 0; k < H; ++k)
        write(first.w_h + ((j * s.unit_groups() * kRows + k) * 3 + own) * kLanes,
              w_h, (g * H + k) * H + at, lanes);
      write(first.bias + (j * 4 + 1 + g) * kLanes, b_x, g * H + at, lanes);
    }
    const int of_product = arguments.reset_after ? 0 : 3;
    write(first.bias + (j * 4 + of_product) * kLanes, b_hn, at, lanes);
  }
}

template <class Pool>
void backward(Pool& pool, const Arguments& arguments, const BackwardArguments& more,
              const BackwardResults& results) {
  const Sizes& s = arguments.size;
  const Plan plan(s, threads_of(pool));
  const bool recompute = more.gates.reset.data == nullptr;
  const PackedModels models(pool, arguments, plan, true);
  Scratch needed;
  Backward(arguments.layer(0), plan.largest(), recompute, needed);
  const Memory scratch(needed.used() * plan.workers());
  const int64_t sums_floats = WeightSums::floats(s);
  const Memory sums(sums_floats * (plan.parts() > 1 ? plan.tasks() : plan.workers()));
  parallel_for(pool, plan.tasks(), plan.workers(), [&](int64_t task, int worker) {
    const int64_t m = task / plan.parts();
    const Layer layer = arguments.layer(m);
    const Weights weights = models.get(layer, m, worker);
    const int64_t rows = s.rows * s.units, steps = s.steps * rows;
    const Cotangents cotangents{more.hs.of(m, steps), more.gates.of(s, m), more.last.of(m, rows),
                                more.each.of(m, steps)};
    const Gradients gradients{results.xs.of(m, s.steps * s.rows * s.inputs),
                              results.h0.of(m, rows), results.reset_state.of(m, rows)};
    float* own_sums = sums.get() + (plan.parts() > 1 ? task : worker) * sums_floats;
    std::memset(own_sums, 0, 4 * sums_floats);
    plan.for_slices(task % plan.parts(), [&](const Slice& slice) {
      Scratch own(scratch.get() + worker * needed.used());
      Backward(layer, slice, recompute, own)
          .run(weights, cotangents, WeightSums(s, own_sums), gradients);
    });
    if (plan.parts() == 1) write_weights(arguments, results, m, 1, own_sums, sums_floats);
  });
  if (plan.parts() > 1)
    parallel_for(pool, s.models, plan.threads(), [&](int64_t m, int) {
      write_weights(arguments, results, m, plan.parts(),
                    sums.get() + m * plan.parts() * sums_floats, sums_floats);
    });
}

}  // namespace grujax
