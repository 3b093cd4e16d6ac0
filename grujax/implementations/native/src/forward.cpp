// The forward pass: one task computes some rows of one layer at all steps.
#include "gates.h"
#include "weights.h"
#include "time_window.h"

namespace grujax {
namespace {

struct Outputs {
  Floats h_last, hs;  // [B, H], [T, B, H]
  Gates gates;        // [T, B, H], or null
};

template <class Product>
class ForwardPass {
 public:
  ForwardPass(const Layer& layer, const Slice& slice, ScratchArena& scratch)
      : layer_(layer), slice_(slice), window_(layer, slice, scratch) {
    const int64_t state = slice.rows * layer.size.padded();
    h_ = scratch.floats(state);
    next_ = scratch.floats(state);
    masked_ = layer.dropout_mask ? scratch.floats(state) : nullptr;
    masked_cells_ = scratch.floats(cells<Product>(state));
    reset_masked_ = layer.reset_after ? nullptr : scratch.floats(cells<Product>(state));
    update_ = layer.reset_after ? nullptr : scratch.floats(state);
  }

  void run(const Weights<Product>& weights, const Outputs& outputs) {
    const Sizes& s = layer_.size;
    const int64_t stride = s.padded();
    for (int64_t row = 0; row < slice_.rows; ++row)
      copy_row(layer_.h0 + (slice_.first_row + row) * s.units, s.units, h_ + row * stride, stride);
    for (int64_t begin = 0; begin < s.steps; begin += slice_.window_length) {
      const int64_t length = std::min(slice_.window_length, s.steps - begin);
      window_.load_steps(begin, length);
      project(layer_, weights, length * slice_.rows, window_.inputs, window_.projected);
      for (int64_t i = 0; i < length; ++i) step(weights, i, layer_.time(begin + i), outputs);
    }
    for (int64_t row = 0; row < slice_.rows; ++row)
      write(h_ + row * stride, outputs.h_last + (slice_.first_row + row) * s.units);
  }

 private:
  void step(const Weights<Product>& weights, int64_t i, int64_t time,
            const Outputs& outputs) {
    const Sizes& s = layer_.size;
    const int64_t slice_rows = slice_.rows, stride = s.padded(), at = i * slice_rows;
    const uint8_t* valid = window_.valid ? window_.valid + at : nullptr;
    if (window_.restart)
      for (int64_t row = 0; row < slice_rows; ++row)
        if (window_.restart[at + row])
          copy_row(layer_.reset_state + (slice_.first_row + row) * s.units, s.units,
                   h_ + row * stride, stride);
    if (layer_.dropout_mask) apply_dropout_mask(layer_, slice_, h_, masked_);

    GateBuffers buffers;
    buffers.rows = slice_rows;
    buffers.projected = window_.projected + at * stride * 3;
    buffers.before = h_;
    buffers.masked = layer_.dropout_mask ? masked_ : h_;
    buffers.masked_cells = to_cells<Product>(buffers.masked, slice_rows * stride, masked_cells_);
    buffers.valid = valid;
    buffers.kept = window_.kept_at(at);
    buffers.after = next_;
    buffers.gates.stride = stride;
    if (outputs.gates.reset) buffers.gates = outputs.gates.at(time * s.rows + slice_.first_row);
    buffers.reset_masked = reset_masked_;
    buffers.update = update_;
    evaluate_gates(layer_, weights, buffers);
    std::swap(h_, next_);

    for (int64_t row = 0; row < slice_rows; ++row) {
      const Floats to = outputs.hs + (time * s.rows + slice_.first_row + row) * s.units;
      if (valid && !valid[row]) {
        std::memset(to.data, 0, s.units * (to.is_bfloat16 ? 2 : 4));
      } else {
        write(h_ + row * stride, to);
      }
    }
  }

  // Writes the state, and rounds it to the stored dtype for the next step.
  void write(float* state, const Floats& to) const {
    const Sizes& s = layer_.size;
    for (int64_t j = 0; j < s.blocks(); ++j) {
      const Vector values = load(state + j * kLanes);
      to.set(j * kLanes, values, s.lanes(j));
      if (to.is_bfloat16) store(state + j * kLanes, to.as_stored(values));
    }
  }

  const Layer& layer_;
  const Slice slice_;
  TimeWindow<Product> window_;
  float *h_, *next_, *masked_, *masked_cells_, *reset_masked_, *update_;
};

template <class Product>
void forward_with(Pool& pool, const Arguments& arguments, const ForwardResults& results) {
  const Sizes& s = arguments.size;
  const BatchSplit split(s, pool.threads());
  const Packing packing{!may_read_in_place<Product>(arguments), false};
  const ModelWeights<Product> models(pool, arguments, split, packing);
  ScratchArena needed;
  ForwardPass<Product>(arguments.layer(0), split.largest_slice(), needed);
  const AlignedFloats scratch(needed.used() * split.workers());
  parallel_for(pool, split.tasks(), split.workers(), [&](int64_t task, int worker) {
    const int64_t m = task / split.parts();
    const Layer layer = arguments.layer(m);
    const Weights<Product> weights = models.get(layer, m, worker);
    const Outputs outputs{results.h_last.of(m, s.rows * s.units),
                          results.hs.of(m, s.steps * s.rows * s.units), results.gates.of(s, m)};
    split.for_slices(task % split.parts(), [&](const Slice& slice) {
      ScratchArena arena(scratch.get() + worker * needed.used());
      ForwardPass<Product>(layer, slice, arena).run(weights, outputs);
    });
  });
}

}  // namespace

void forward(Pool& pool, const Arguments& arguments, const ForwardResults& results) {
  with_product(arguments.in_pairs, [&](auto product) {
    forward_with<decltype(product)>(pool, arguments, results);
  });
}

}  // namespace grujax
