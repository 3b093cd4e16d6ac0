// The forward pass: one task computes some rows of one layer at all steps. A team splits its units.
#include "gates.h"
#include "time_window.h"
#include "weights.h"

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
    const int64_t operand =
        cells<Product>((slice.rows + Product::kRowsBeyond) * layer.size.padded());
    masked_cells_ = scratch.floats(operand);
    reset_masked_ = layer.reset_after ? nullptr : scratch.floats(operand);
    update_ = layer.reset_after ? nullptr : scratch.floats(state);
  }

  void run(Team& team, const Weights<Product>& weights, const Outputs& outputs) {
    const Sizes& s = layer_.size;
    team.each(s.blocks(), [&](int64_t first, int64_t end) {
      over_rows(first, end, [&](int64_t row, int64_t j, float* h) {
        store(h, of_row(layer_.h0, row).get(j * kLanes, s.lanes(j)));
      });
    });
    for (int64_t begin = 0; begin < s.steps; begin += slice_.window_length) {
      const int64_t length = std::min(slice_.window_length, s.steps - begin);
      team.each(1, [&](int64_t first, int64_t end) {
        if (first < end) window_.load_steps(begin, length);
      });
      team.each(s.blocks(), [&](int64_t first, int64_t end) {
        const int64_t rows = length * slice_.rows;
        project(layer_, weights, rows, window_.inputs, window_.projected, first, end);
      });
      for (int64_t i = 0; i < length; ++i) step(team, weights, i, layer_.time(begin + i), outputs);
    }
    team.each(s.blocks(), [&](int64_t first, int64_t end) {
      over_rows(first, end, [&](int64_t row, int64_t j, const float* h) {
        of_row(outputs.h_last, row).set(j * kLanes, load(h), s.lanes(j));
      });
    });
  }

 private:
  void step(Team& team, const Weights<Product>& weights, int64_t i, int64_t time,
            const Outputs& outputs) {
    const Sizes& s = layer_.size;
    const int64_t at = i * slice_.rows, stride = s.padded();
    const bool is_masked = layer_.dropout_mask, is_copied = Product::kPerCell > 1;
    float* masked = is_masked ? masked_ : h_;
    if (window_.restart || is_masked || is_copied)
      team.each(s.blocks(), [&](int64_t first, int64_t end) { prepare(at, first, end); });

    GateBuffers buffers;
    buffers.rows = slice_.rows;
    buffers.projected = window_.projected + at * stride * 3;
    buffers.before = h_;
    buffers.masked = masked;
    buffers.masked_cells = is_copied ? masked_cells_ : masked;
    buffers.valid = window_.valid ? window_.valid + at : nullptr;
    buffers.kept = window_.kept_at(at);
    buffers.after = next_;
    buffers.gates.stride = stride;
    if (outputs.gates.reset) buffers.gates = outputs.gates.at(time * s.rows + slice_.first_row);
    buffers.reset_masked = reset_masked_;
    buffers.update = update_;
    const int last_stage = gate_stages(layer_) - 1;
    if (last_stage > 0)
      team.each(s.blocks(), [&](int64_t first, int64_t end) {
        evaluate_gates(layer_, weights, buffers, 0, first, end);
      });
    team.each(s.blocks(), [&](int64_t first, int64_t end) {
      evaluate_gates(layer_, weights, buffers, last_stage, first, end);
      write(outputs.hs + time * s.rows * s.units, buffers.valid, first, end);
    });
    std::swap(h_, next_);
  }

  // Restarts rows, and applies recurrent dropout.
  void prepare(int64_t at, int64_t first, int64_t end) const {
    const Sizes& s = layer_.size;
    over_rows(first, end, [&](int64_t row, int64_t j, float* h) {
      if (window_.restart && window_.restart[at + row])
        store(h, of_row(layer_.reset_state, row).get(j * kLanes, s.lanes(j)));
      Vector values = load(h);
      const int64_t unit = row * s.padded() + j * kLanes;
      if (layer_.dropout_mask) {
        values *= load_dropout_mask(layer_, slice_, row, j);
        store(masked_ + unit, values);
      }
      if constexpr (Product::kPerCell > 1)
        Product::store_cells(masked_cells_ + unit / Product::kPerCell, values);
    });
  }

  // Writes the state after a step to hs [B, H], and rounds it to the stored dtype for the next step.
  void write(const Floats& hs, const uint8_t* valid, int64_t first, int64_t end) const {
    over_rows(first, end, [&](int64_t row, int64_t j, float*) {
      float* state = next_ + row * layer_.size.padded() + j * kLanes;
      const Vector values = load(state);
      const bool is_valid = !valid || valid[row];
      of_row(hs, row).set(j * kLanes, is_valid ? values : Vector{}, layer_.size.lanes(j));
      if (hs.is_bfloat16 && is_valid) store(state, hs.as_stored(values));
    });
  }

  // Calls f for some blocks of all rows, with their state.
  template <class F>
  GRUJAX_INLINE void over_rows(int64_t first, int64_t end, F&& f) const {
    for (int64_t row = 0; row < slice_.rows; ++row)
      for (int64_t j = first; j < end; ++j) f(row, j, h_ + row * layer_.size.padded() + j * kLanes);
  }

  // A row of the slice in an array [B, H].
  Floats of_row(const Floats& array, int64_t row) const {
    return array + (slice_.first_row + row) * layer_.size.units;
  }

  const Layer& layer_;
  const Slice slice_;
  TimeWindow<Product> window_;
  float *h_, *next_, *masked_, *masked_cells_, *reset_masked_, *update_;
};

template <class Product>
void forward_with(Pool& pool, const Arguments& arguments, const ForwardResults& results) {
  const Sizes& s = arguments.size;
  const BatchSplit split(s, pool.threads(), true);
  const Packing packing{!may_read_in_place<Product>(arguments), false};
  const ModelWeights<Product> models(pool, arguments, split, packing);
  ScratchArena needed;
  ForwardPass<Product>(arguments.layer(0), split.largest_slice(), needed);
  const AlignedFloats scratch(needed.used() * split.workers());
  auto run = [&](Team& team, int64_t task, int worker) {
    [[maybe_unused]] typename Product::Session session;
    const int64_t m = task / split.parts();
    const Layer layer = arguments.layer(m);
    const Weights<Product> weights = models.get(layer, m, worker);
    const Outputs outputs{results.h_last.of(m, s.rows * s.units),
                          results.hs.of(m, s.steps * s.rows * s.units), results.gates.of(s, m)};
    split.for_slices(task % split.parts(), [&](const Slice& slice) {
      ScratchArena arena(scratch.get() + worker * needed.used());
      ForwardPass<Product>(layer, slice, arena).run(team, weights, outputs);
    });
  };
  if (split.members() > 1) {
    Team::run(pool, split.members(), [&](Team& team) { run(team, 0, 0); });
    return;
  }
  parallel_for(pool, split.tasks(), split.workers(), [&](int64_t task, int worker) {
    Team alone;
    run(alone, task, worker);
  });
}

}  // namespace

void forward(Pool& pool, const Arguments& arguments, const ForwardResults& results) {
  with_product(arguments.product, [&](auto product) {
    forward_with<decltype(product)>(pool, arguments, results);
  });
}

}  // namespace grujax
