// The forward pass of some rows of one layer over all time.
#include "plan.h"

namespace grujax {
namespace {

struct Outputs {
  Floats h_last, hs;  // [B, H], [T, B, H]
  Gates gates;        // of [T, B, H], or null
};

class Forward {
 public:
  Forward(const Layer& layer, const Slice& slice, Scratch& scratch)
      : layer_(layer), slice_(slice), chunk_(layer, slice, scratch) {
    const int64_t state = slice.number * layer.size.padded();
    h_ = scratch.floats(state);
    next_ = scratch.floats(state);
    seen_ = layer.scale ? scratch.floats(state) : nullptr;
    seen_reset_ = layer.reset_after ? nullptr : scratch.floats(state);
    update_ = layer.reset_after ? nullptr : scratch.floats(state);
  }

  void run(const Weights& weights, const Outputs& outputs) {
    const Sizes& s = layer_.size;
    const int64_t stride = s.padded();
    for (int64_t row = 0; row < slice_.number; ++row)
      Chunk::copy(layer_.h0 + (slice_.first + row) * s.units, s.units, h_ + row * stride, stride);
    for (int64_t begin = 0; begin < s.steps; begin += slice_.positions) {
      const int64_t positions = std::min(slice_.positions, s.steps - begin);
      chunk_.load_steps(begin, positions);
      project(layer_, weights, positions * slice_.number, chunk_.inputs, chunk_.projected);
      for (int64_t i = 0; i < positions; ++i)
        step(weights, i, layer_.time(begin + i), outputs);
    }
    for (int64_t row = 0; row < slice_.number; ++row)
      write(h_ + row * stride, outputs.h_last + (slice_.first + row) * s.units);
  }

 private:
  void step(const Weights& weights, int64_t i, int64_t time, const Outputs& outputs) {
    const Sizes& s = layer_.size;
    const int64_t number = slice_.number, stride = s.padded(), at = i * number;
    const uint8_t* exists = chunk_.exists ? chunk_.exists + at : nullptr;
    if (chunk_.starts)
      for (int64_t row = 0; row < number; ++row)
        if (chunk_.starts[at + row])
          Chunk::copy(layer_.reset_state + (slice_.first + row) * s.units, s.units,
                      h_ + row * stride, stride);
    if (layer_.scale) scale_rows(layer_, slice_, h_, seen_);

    Rows rows;
    rows.number = number;
    rows.projected = chunk_.projected + at * stride * 3;
    rows.before = h_;
    rows.seen = layer_.scale ? seen_ : h_;
    rows.exists = exists;
    rows.keeps = chunk_.keeps ? chunk_.keeps + at * stride : nullptr;
    rows.after = next_;
    rows.gates.stride = stride;
    if (outputs.gates.reset) rows.gates = outputs.gates.at(time * s.rows + slice_.first);
    rows.seen_reset = seen_reset_;
    rows.update = update_;
    evaluate_gates(layer_, weights, rows);
    std::swap(h_, next_);

    for (int64_t row = 0; row < number; ++row) {
      const Floats to = outputs.hs + (time * s.rows + slice_.first + row) * s.units;
      if (exists && !exists[row]) {
        std::memset(to.data, 0, s.units * (to.is_half ? 2 : 4));
      } else {
        write(h_ + row * stride, to);
      }
    }
  }

  // The state goes on as it is stored.
  void write(float* state, const Floats& to) const {
    const Sizes& s = layer_.size;
    for (int64_t j = 0; j < s.blocks(); ++j) {
      const Vector values = load(state + j * kLanes);
      to.set(j * kLanes, values, s.lanes(j));
      if (to.is_half) store(state + j * kLanes, to.as_stored(values));
    }
  }

  const Layer& layer_;
  const Slice slice_;
  Chunk chunk_;
  float *h_, *next_, *seen_, *seen_reset_, *update_;
};

}  // namespace

void forward(Pool& pool, const Arguments& arguments, const ForwardResults& results) {
  const Sizes& s = arguments.size;
  const Plan plan(s, pool.threads());
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

}  // namespace grujax
