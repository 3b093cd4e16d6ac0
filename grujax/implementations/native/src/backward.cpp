// The backward pass: one task differentiates some rows of one layer, from the last step to the
// first. The derivation is in grujax/implementations/scan/rules.py, with the same names.
#include "deltas.h"
#include "gates.h"
#include "time_window.h"
#include "weight_gradients.h"
#include "weights.h"

namespace grujax {
namespace {

struct Cotangents {
  Floats hs;              // the states after the steps, [T, B, H]
  Gates gates;            // [T, B, H]; recomputed if null
  Floats d_h_last, d_hs;  // of h_last [B, H] and hs [T, B, H]
};

struct Gradients {
  Floats xs, h0, reset_state;  // [T, B, I], [B, H], [B, H]
};

template <class Product>
class BackwardPass {
 public:
  BackwardPass(const Layer& layer, const Slice& slice, bool recompute, ScratchArena& scratch)
      : layer_(layer), slice_(slice), recompute_(recompute), window_(layer, slice, scratch) {
    const Sizes& s = layer.size;
    const int64_t rows = slice.window_rows(), H = s.padded();
    before_ = scratch.floats(rows * H);
    masked_ = layer.dropout_mask ? scratch.floats(rows * H) : before_;
    const bool after = layer.reset_after;
    const int64_t operand = cells<Product>((rows + Product::kRowsBeyond) * H);
    masked_cells_ = scratch.floats(operand);
    reset_masked_ = after ? nullptr : scratch.floats(operand);
    update_ = after || !recompute ? nullptr : scratch.floats(rows * H);
    if (recompute)
      gates_ = {scratch.floats(rows * H), scratch.floats(rows * H), scratch.floats(rows * H),
                after ? scratch.floats(rows * H) : nullptr, H};
    deltas_ = Deltas<Product>(s, rows, scratch);
    const int64_t row_cells = cells<Product>(rows);
    deltas_along_rows_ = Product::kPerCell == 1 ? nullptr : scratch.floats(row_cells * 4 * kLanes);
    auto packed = [&](int64_t groups) { return row_cells * (groups * kRows + Product::kRowsBeyond); };
    packed_inputs_ = scratch.floats(packed(s.input_groups()));
    packed_states_ = scratch.floats(packed(s.unit_groups()));
    packed_reset_ = after ? nullptr : scratch.floats(packed(s.unit_groups()));
    d_inputs_ = scratch.floats(rows * s.input_blocks() * kLanes);
    adjoint_ = scratch.floats(slice.rows * H);
    d_reset_ = scratch.floats(slice.rows * H);
    zoneout_rate_ = layer.zoneout_rate ? *layer.zoneout_rate : 0.f;
  }

  void run(const Weights<Product>& weights, const Cotangents& cotangents, WeightGradientSums& sums,
           const Gradients& gradients) {
    const Sizes& s = layer_.size;
    const int64_t H = s.padded();
    for (int64_t row = 0; row < slice_.rows; ++row)
      copy_row(cotangents.d_h_last + (slice_.first_row + row) * s.units, s.units,
               adjoint_ + row * H, H);
    std::memset(d_reset_, 0, 4 * slice_.rows * H);
    // The time windows of the forward pass, from the last to the first.
    const int64_t last = (s.steps - 1) / slice_.window_length * slice_.window_length;
    for (int64_t begin = last; begin >= 0; begin -= slice_.window_length) {
      const int64_t length = std::min(slice_.window_length, s.steps - begin);
      window_.load_steps(begin, length);
      load_states(begin, length, cotangents.hs);
      if (recompute_) recompute_gates(weights, length);
      for (int64_t i = length - 1; i >= 0; --i)
        step(weights, cotangents, layer_.time(begin + i), i);
      add_weight_gradients(length * slice_.rows, sums);
      differentiate_inputs(weights, begin, length, gradients.xs);
    }
    for (int64_t row = 0; row < slice_.rows; ++row) {
      write(adjoint_ + row * H, gradients.h0 + (slice_.first_row + row) * s.units);
      write(d_reset_ + row * H, gradients.reset_state + (slice_.first_row + row) * s.units);
    }
  }

 private:
  Gates gates(const Cotangents& cotangents, int64_t time, int64_t i) const {
    if (recompute_) return gates_.at(i * slice_.rows);
    return cotangents.gates.at(time * layer_.size.rows + slice_.first_row);
  }

  void load_states(int64_t begin, int64_t length, const Floats& hs) {
    const Sizes& s = layer_.size;
    const int64_t H = s.padded(), rows = slice_.rows;
    for (int64_t i = 0; i < length; ++i) {
      for (int64_t row = 0; row < rows; ++row) {
        const int64_t b = slice_.first_row + row;
        Floats from = layer_.h0 + b * s.units;
        if (begin + i > 0) from = hs + (layer_.time(begin + i - 1) * s.rows + b) * s.units;
        if (window_.restart && window_.restart[i * rows + row])
          from = layer_.reset_state + b * s.units;
        copy_row(from, s.units, before_ + (i * rows + row) * H, H);
      }
      if (layer_.dropout_mask)
        apply_dropout_mask(layer_, slice_, before_ + i * rows * H, masked_ + i * rows * H);
    }
    masked_operand_ = to_cells<Product>(masked_, length * rows * H, masked_cells_);
  }

  void recompute_gates(const Weights<Product>& weights, int64_t length) const {
    const int64_t rows = length * slice_.rows;
    const int64_t blocks = layer_.size.blocks();
    project(layer_, weights, rows, window_.inputs, window_.projected, 0, blocks);
    GateBuffers buffers;
    buffers.rows = rows;
    buffers.projected = window_.projected;
    buffers.before = before_;
    buffers.masked = masked_;
    buffers.masked_cells = masked_operand_;
    buffers.valid = window_.valid;
    buffers.kept = window_.kept_at(0);
    buffers.gates = gates_;
    buffers.reset_masked = reset_masked_;
    buffers.update = update_;
    for (int stage = 0; stage < gate_stages(layer_); ++stage)
      evaluate_gates(layer_, weights, buffers, stage, 0, blocks);
  }

  void step(const Weights<Product>& weights, const Cotangents& cotangents, int64_t time,
            int64_t i) const {
    const Sizes& s = layer_.size;
    const int64_t rows = slice_.rows, H = s.padded(), at = i * rows;
    const Gates gates = this->gates(cotangents, time, i);
    for (int64_t row = 0; row < rows; ++row) {
      const bool is_valid = !window_.valid || window_.valid[at + row];
      const Floats d_hs = cotangents.d_hs + (time * s.rows + slice_.first_row + row) * s.units;
      for (int64_t j = 0; j < s.blocks(); ++j) write_deltas(gates, d_hs, is_valid, i, row, j);
    }
    if (layer_.reset_after) {
      add_products(weights, at, 0, 3);
    } else {
      add_reset_products(weights, gates, at);
      add_products(weights, at, 1, 2);
    }
    if (!window_.restart) return;
    for (int64_t row = 0; row < rows; ++row) {
      if (!window_.restart[at + row]) continue;
      for (int64_t j = 0; j < s.blocks(); ++j) {
        const int64_t k = row * H + j * kLanes;
        store(d_reset_ + k, load(d_reset_ + k) + load(adjoint_ + k));
        store(adjoint_ + k, Vector{});
      }
    }
  }

  // From λ at one row and block: the deltas of the gates, and λ ∘ u.
  void write_deltas(const Gates& gates, const Floats& d_hs, bool is_valid, int64_t i, int64_t row,
                    int64_t j) const {
    const Sizes& s = layer_.size;
    const int64_t at = i * slice_.rows + row, unit = j * kLanes;
    const int lanes = gates.stride == s.units ? s.lanes(j) : kLanes;
    const Gates kept = gates.at(row);
    float* adjoint = adjoint_ + row * s.padded() + unit;
    if (!is_valid) {  // λ stays, and the cotangent there may be anything
      for (int k = 0; k < 4; ++k) deltas_.set(j, at, k, Vector{});
      return;
    }
    const Vector lambda = load(adjoint) + d_hs.get(unit, s.lanes(j));
    const Vector z = load(kept.update + unit, lanes), n = load(kept.candidate + unit, lanes);
    const Vector h = load(before_ + at * s.padded() + unit);
    const Vector u = z + zoneout_rate_ * (1.f - z);
    const Vector d_n = lambda * (1.f - u) * (1.f - n * n);
    const Vector d_z = (1.f - zoneout_rate_) * lambda * (h - n) * z * (1.f - z);
    if (layer_.reset_after) {
      const Vector r = load(kept.reset + unit, lanes), c = load(kept.product + unit, lanes);
      const Vector d_c = d_n * r;
      deltas_.set(j, at, 0, d_c);
      deltas_.set(j, at, 1, d_c * c * (1.f - r));
    }
    deltas_.set(j, at, 2, d_z);
    deltas_.set(j, at, 3, d_n);
    store(adjoint, lambda * u);
  }

  // λ of the previous step: adjoint += dropout_mask ∘ (δ·Whᵀ), for gates [first, first + count).
  void add_products(const Weights<Product>& weights, int64_t at, int first, int count) const {
    over_tiles<Product>(layer_.size.blocks(), slice_.rows,
               [&](auto height, auto width, int64_t row, int64_t j) GRUJAX_INLINE_LAMBDA {
                 constexpr int M = decltype(height)::value, C = decltype(width)::value;
                 Vector sums[M][C][1] = {};
                 deltas_.multiply(sums, at + row, j, weights.h_t, first, count, first);
                 for (int m = 0; m < M; ++m)
                   for (int c = 0; c < C; ++c) {
                     float* to = adjoint_ + (row + m) * layer_.size.padded() + (j + c) * kLanes;
                     store(to, load(to) + mask_gradient(sums[m][c][0], row + m, j + c));
                   }
               });
  }

  // With reset before the product: q = δn·Whnᵀ, δr, and adjoint += dropout_mask ∘ q ∘ r.
  void add_reset_products(const Weights<Product>& weights, const Gates& gates,
                          int64_t at) const {
    const Sizes& s = layer_.size;
    over_tiles<Product>(
        s.blocks(), slice_.rows,
        [&](auto height, auto width, int64_t row, int64_t j) GRUJAX_INLINE_LAMBDA {
          constexpr int M = decltype(height)::value, C = decltype(width)::value;
          Vector sums[M][C][1] = {};
          deltas_.multiply(sums, at + row, j, weights.h_t, 3, 1, 0);
          for (int m = 0; m < M; ++m)
            for (int c = 0; c < C; ++c) {
              const int64_t unit = (j + c) * kLanes, k = (at + row + m) * s.padded() + unit;
              const int lanes = gates.stride == s.units ? s.lanes(j + c) : kLanes;
              const Vector r = load(gates.at(row + m).reset + unit, lanes);
              const Vector q = sums[m][c][0], reset_masked = r * load(masked_ + k);
              float* to = adjoint_ + (row + m) * s.padded() + unit;
              store(to, load(to) + mask_gradient(q * r, row + m, j + c));
              deltas_.set(j + c, at + row + m, 1, q * reset_masked * (1.f - r));
              Product::store_cells(reset_masked_ + k / Product::kPerCell, reset_masked);
            }
        });
  }

  // The gradient of the state before recurrent dropout.
  GRUJAX_INLINE Vector mask_gradient(Vector d_masked, int64_t row, int64_t j) const {
    return layer_.dropout_mask ? load_dropout_mask(layer_, slice_, row, j) * d_masked : d_masked;
  }

  // Adds the time window's part to the gradients of the weights.
  void add_weight_gradients(int64_t rows, WeightGradientSums& sums) const {
    const Sizes& s = layer_.size;
    const int64_t x_groups = s.input_groups(), h_groups = s.unit_groups();
    pack_groups<Product>(rows, x_groups, window_.inputs, x_groups * kRows, packed_inputs_);
    pack_groups<Product>(rows, h_groups, masked_operand_, s.padded(), packed_states_);
    if (!layer_.reset_after)
      pack_groups<Product>(rows, h_groups, reset_masked_, s.padded(), packed_reset_);
    for (int64_t j = 0; j < s.blocks(); ++j)
      sums.add<Product>(s, j, rows, deltas_.along_rows(j, rows, deltas_along_rows_),
                        packed_inputs_, packed_states_, packed_reset_);
    sums.is_empty = false;
  }

  // The gradient of the inputs, [δr δz δn]·Wxᵀ.
  void differentiate_inputs(const Weights<Product>& weights, int64_t begin, int64_t length,
                            const Floats& d_xs) const {
    const Sizes& s = layer_.size;
    const int64_t stride = s.input_blocks() * kLanes, rows = slice_.rows;
    over_tiles<Product>(s.input_blocks(), length * rows,
               [&](auto height, auto width, int64_t row, int64_t j) GRUJAX_INLINE_LAMBDA {
                 constexpr int M = decltype(height)::value, C = decltype(width)::value;
                 Vector sums[M][C][1] = {};
                 deltas_.multiply(sums, row, j, weights.x_t, 1, 3, 0);
                 for (int m = 0; m < M; ++m)
                   for (int c = 0; c < C; ++c)
                     store(d_inputs_ + (row + m) * stride + (j + c) * kLanes, sums[m][c][0]);
               });
    for (int64_t i = 0; i < length; ++i)
      for (int64_t row = 0; row < rows; ++row) {
        const int64_t to = layer_.time(begin + i) * s.rows + slice_.first_row + row;
        for (int64_t at = 0; at < s.inputs; at += kLanes)
          d_xs.set(to * s.inputs + at, load(d_inputs_ + (i * rows + row) * stride + at),
                   static_cast<int>(std::min<int64_t>(kLanes, s.inputs - at)));
      }
  }

  void write(const float* values, const Floats& to) const {
    for (int64_t j = 0; j < layer_.size.blocks(); ++j)
      to.set(j * kLanes, load(values + j * kLanes), layer_.size.lanes(j));
  }

  const Layer& layer_;
  const Slice slice_;
  const bool recompute_;
  TimeWindow<Product> window_;
  Gates gates_;
  Deltas<Product> deltas_;
  float *before_, *masked_, *masked_cells_, *reset_masked_, *update_, *deltas_along_rows_;
  float *packed_inputs_, *packed_states_, *packed_reset_, *d_inputs_, *adjoint_, *d_reset_;
  const float* masked_operand_ = nullptr;  // `masked_` as cells
  float zoneout_rate_;
};

template <class Product>
void backward_with(Pool& pool, const Arguments& arguments, const BackwardArguments& extra,
                   const BackwardResults& results) {
  const Sizes& s = arguments.size;
  const BatchSplit split(s, pool.threads(), false);
  const bool recompute = extra.gates.reset.data == nullptr;
  const Packing packing{recompute && !may_read_in_place<Product>(arguments), true};
  const ModelWeights<Product> models(pool, arguments, split, packing);
  ScratchArena needed;
  BackwardPass<Product>(arguments.layer(0), split.largest_slice(), recompute, needed);
  const AlignedFloats scratch(needed.used() * split.workers());
  const bool is_split = split.parts() > 1;
  const int64_t sums_floats = WeightGradientSums::floats(s);
  const AlignedFloats sums(sums_floats * (is_split ? split.tasks() : split.workers()));
  parallel_for(pool, split.tasks(), split.workers(), [&](int64_t task, int worker) {
    [[maybe_unused]] typename Product::Session session;
    const int64_t m = task / split.parts();
    const Layer layer = arguments.layer(m);
    const Weights<Product> weights = models.get(layer, m, worker);
    const int64_t rows = s.rows * s.units, steps = s.steps * rows;
    const Cotangents cotangents{extra.hs.of(m, steps), extra.gates.of(s, m),
                                extra.d_h_last.of(m, rows), extra.d_hs.of(m, steps)};
    const Gradients gradients{results.xs.of(m, s.steps * s.rows * s.inputs), results.h0.of(m, rows),
                              results.reset_state.of(m, rows)};
    float* memory = sums.get() + (is_split ? task : worker) * sums_floats;
    WeightGradientSums task_sums(s, memory);
    split.for_slices(task % split.parts(), [&](const Slice& slice) {
      ScratchArena arena(scratch.get() + worker * needed.used());
      BackwardPass<Product>(layer, slice, recompute, arena)
          .run(weights, cotangents, task_sums, gradients);
    });
    if (!is_split)
      WeightGradients(arguments, results, m, 1, memory).write_rows(0, WeightGradients::rows(s));
  });
  if (!is_split) return;
  constexpr int64_t kFloatsOfTask = 1 << 15;
  const int64_t rows = WeightGradients::rows(s);
  const int64_t rows_of_task = std::max<int64_t>(1, kFloatsOfTask / (3 * s.padded()));
  const int64_t tasks = (rows + rows_of_task - 1) / rows_of_task;
  parallel_for(pool, s.models * tasks, split.threads(), [&](int64_t task, int) {
    const int64_t m = task / tasks, begin = task % tasks * rows_of_task;
    WeightGradients(arguments, results, m, split.parts(),
                    sums.get() + m * split.parts() * sums_floats)
        .write_rows(begin, std::min(rows, begin + rows_of_task));
  });
}

}  // namespace

void backward(Pool& pool, const Arguments& arguments, const BackwardArguments& extra,
              const BackwardResults& results) {
  with_product(arguments.product, [&](auto product) {
    backward_with<decltype(product)>(pool, arguments, extra, results);
  });
}

}  // namespace grujax
