// The gradient of some rows of one layer, against the walk; the derivation stands in
// grujax/implementations/scan.py, and the names of the factors are those used there.
#include "plan.h"
#include "weight_sums.h"

namespace grujax {
namespace {

struct Cotangents {
  Floats hs;          // the states after the steps, [T, B, H]
  Gates gates;        // of [T, B, H]; recomputed where null
  Floats last, each;  // of h_last [B, H] and hs [T, B, H]
};

struct Gradients {
  Floats xs, h0, reset_state;  // [T, B, I], [B, H], [B, H]
};

class Backward {
 public:
  Backward(const Layer& layer, const Slice& slice, bool recompute, Scratch& scratch)
      : layer_(layer), slice_(slice), recompute_(recompute), chunk_(layer, slice, scratch) {
    const Sizes& s = layer.size;
    const int64_t rows = slice.rows(), H = s.padded();
    before_ = scratch.floats(rows * H);
    seen_ = layer.scale ? scratch.floats(rows * H) : before_;
    const bool after = layer.reset_after;
    seen_reset_ = after ? nullptr : scratch.floats(rows * H);
    update_ = after || !recompute ? nullptr : scratch.floats(rows * H);
    if (recompute) {
      gates_ = {scratch.floats(rows * H), scratch.floats(rows * H), scratch.floats(rows * H),
                after ? scratch.floats(rows * H) : nullptr, H};
    }
    deltas_ = scratch.floats(rows * H * 4);
    packed_inputs_ = scratch.floats(rows * s.input_groups() * kRows);
    packed_states_ = scratch.floats(rows * s.unit_groups() * kRows);
    packed_reset_ = after ? nullptr : scratch.floats(rows * s.unit_groups() * kRows);
    d_inputs_ = scratch.floats(rows * s.input_blocks() * kLanes);
    adjoint_ = scratch.floats(slice.number * H);
    d_reset_ = scratch.floats(slice.number * H);
    zoneout_ = layer.zoneout ? *layer.zoneout : 0.f;
  }

  void run(const Weights& weights, const Cotangents& cotangents, const WeightSums& sums,
           const Gradients& gradients) {
    const Sizes& s = layer_.size;
    const int64_t H = s.padded();
    for (int64_t row = 0; row < slice_.number; ++row)
      Chunk::copy(cotangents.last + (slice_.first + row) * s.units, s.units, adjoint_ + row * H, H);
    std::memset(d_reset_, 0, 4 * slice_.number * H);
    // The chunks of the forward pass, from the last to the first.
    const int64_t last = (s.steps - 1) / slice_.positions * slice_.positions;
    for (int64_t begin = last; begin >= 0; begin -= slice_.positions) {
      const int64_t positions = std::min(slice_.positions, s.steps - begin);
      chunk_.load_steps(begin, positions);
      load_states(begin, positions, cotangents.hs);
      if (recompute_) recompute_gates(weights, positions);
      for (int64_t i = positions - 1; i >= 0; --i)
        step(weights, cotangents, layer_.time(begin + i), i);
      sum_weights(positions * slice_.number, sums);
      differentiate_inputs(weights, begin, positions, gradients.xs);
    }
    for (int64_t row = 0; row < slice_.number; ++row) {
      write(adjoint_ + row * H, gradients.h0 + (slice_.first + row) * s.units);
      write(d_reset_ + row * H, gradients.reset_state + (slice_.first + row) * s.units);
    }
  }

 private:
  // [blocks][rows of the chunk][c r z n][lanes]: with respect to h·Whn and the gates. With reset
  // before the product there is no c.
  float* deltas(int64_t block, int64_t row) const {
    return deltas_ + (block * slice_.rows() + row) * 4 * kLanes;
  }

  Gates gates(const Cotangents& cotangents, int64_t time, int64_t i) const {
    if (recompute_) return gates_.at(i * slice_.number);
    return cotangents.gates.at(time * layer_.size.rows + slice_.first);
  }

  void load_states(int64_t begin, int64_t positions, const Floats& hs) const {
    const Sizes& s = layer_.size;
    const int64_t H = s.padded(), number = slice_.number;
    for (int64_t i = 0; i < positions; ++i) {
      for (int64_t row = 0; row < number; ++row) {
        const int64_t b = slice_.first + row;
        Floats from = layer_.h0 + b * s.units;
        if (begin + i > 0) from = hs + (layer_.time(begin + i - 1) * s.rows + b) * s.units;
        if (chunk_.starts && chunk_.starts[i * number + row])
          from = layer_.reset_state + b * s.units;
        Chunk::copy(from, s.units, before_ + (i * number + row) * H, H);
      }
      if (layer_.scale)
        scale_rows(layer_, slice_, before_ + i * number * H, seen_ + i * number * H);
    }
  }

  void recompute_gates(const Weights& weights, int64_t positions) const {
    const int64_t number = positions * slice_.number;
    project(layer_, weights, number, chunk_.inputs, chunk_.projected);
    Rows rows;
    rows.number = number;
    rows.projected = chunk_.projected;
    rows.before = before_;
    rows.seen = seen_;
    rows.exists = chunk_.exists;
    rows.keeps = chunk_.keeps;
    rows.gates = gates_;
    rows.seen_reset = seen_reset_;
    rows.update = update_;
    evaluate_gates(layer_, weights, rows);
  }

  void step(const Weights& weights, const Cotangents& cotangents, int64_t time, int64_t i) const {
    const Sizes& s = layer_.size;
    const int64_t number = slice_.number, H = s.padded(), at = i * number;
    const Gates gates = this->gates(cotangents, time, i);
    for (int64_t row = 0; row < number; ++row) {
      const bool exists = !chunk_.exists || chunk_.exists[at + row];
      const Floats each = cotangents.each + (time * s.rows + slice_.first + row) * s.units;
      for (int64_t j = 0; j < s.blocks(); ++j) start_row(gates, each, exists, i, row, j);
    }
    if (layer_.reset_after) {
      add_products(weights, at, 0, 3);
    } else {
      through_reset(weights, gates, at);
      add_products(weights, at, 1, 2);
    }
    if (!chunk_.starts) return;
    for (int64_t row = 0; row < number; ++row) {
      if (!chunk_.starts[at + row]) continue;
      for (int64_t j = 0; j < s.blocks(); ++j) {
        const int64_t k = row * H + j * kLanes;
        store(d_reset_ + k, load(d_reset_ + k) + load(adjoint_ + k));
        store(adjoint_ + k, Vector{});
      }
    }
  }

  // λ at one row: its part in δ, and λ ∘ u.
  void start_row(const Gates& gates, const Floats& each, bool exists, int64_t i, int64_t row,
                 int64_t j) const {
    const Sizes& s = layer_.size;
    const int64_t at = i * slice_.number + row, unit = j * kLanes;
    const int lanes = gates.stride == s.units ? s.lanes(j) : kLanes;
    const Gates own = gates.at(row);
    float *adjoint = adjoint_ + row * s.padded() + unit, *delta = deltas(j, at);
    if (!exists) {  // λ passes, and what the cotangents hold there may be anything
      for (int k = 0; k < 4; ++k) store(delta + k * kLanes, Vector{});
      return;
    }
    const Vector lambda = load(adjoint) + each.get(unit, s.lanes(j));
    const Vector z = load(own.update + unit, lanes), n = load(own.candidate + unit, lanes);
    const Vector h = load(before_ + at * s.padded() + unit);
    const Vector u = z + zoneout_ * (1.f - z);
    const Vector d_n = lambda * (1.f - u) * (1.f - n * n);
    const Vector d_z = (1.f - zoneout_) * lambda * (h - n) * z * (1.f - z);
    if (layer_.reset_after) {
      const Vector r = load(own.reset + unit, lanes), c = load(own.product + unit, lanes);
      const Vector d_c = d_n * r;
      store(delta, d_c);
      store(delta + kLanes, d_c * c * (1.f - r));
    }
    store(delta + 2 * kLanes, d_z);
    store(delta + 3 * kLanes, d_n);
    store(adjoint, lambda * u);
  }

  template <class F>
  GRUJAX_INLINE static void over_tiles(int64_t blocks, int64_t rows, F&& f) {
    int64_t j = 0;
    auto with_width = [&](auto width) GRUJAX_INLINE_LAMBDA {
      tile_rows(rows, [&](auto height, int64_t row)
                          GRUJAX_INLINE_LAMBDA { f(height, width, row, j); });
      j += decltype(width)::value;
    };
    while (blocks - j >= 5 || blocks - j == 3) with_width(Number<3>{});
    while (blocks - j >= 2) with_width(Number<2>{});
    if (blocks - j == 1) with_width(Number<1>{});
  }

  // sums += Σ over blocks of δ of the gates [first, first + number), times transposed weights.
  template <int M, int C>
  GRUJAX_INLINE void multiply_deltas(Vector (&sums)[M][C][1], int64_t row, int64_t column,
                                     const float* weights, int first, int number,
                                     int weights_first) const {
    const int64_t blocks = layer_.size.blocks(), tile = kLanes * kLanes;
    for (int64_t j = 0; j < blocks; ++j)
      multiply(sums, number * kLanes, deltas(j, row) + first * kLanes, 4 * kLanes, 1,
               weights + ((column * blocks + j) * 3 + weights_first) * tile, kLanes,
               blocks * 3 * tile);
  }

  // λ for the step before: adjoint += scale ∘ (δ·Whᵀ), gates [first, first + number).
  void add_products(const Weights& weights, int64_t at, int first, int number) const {
    over_tiles(layer_.size.blocks(), slice_.number,
               [&](auto height, auto width, int64_t row, int64_t j) GRUJAX_INLINE_LAMBDA {
                 constexpr int M = decltype(height)::value, C = decltype(width)::value;
                 Vector sums[M][C][1] = {};
                 multiply_deltas(sums, at + row, j, weights.w_h_t, first, number, first);
                 for (int m = 0; m < M; ++m)
                   for (int c = 0; c < C; ++c) {
                     float* to = adjoint_ + (row + m) * layer_.size.padded() + (j + c) * kLanes;
                     store(to, load(to) + of_state(sums[m][c][0], row + m, j + c));
                   }
               });
  }

  // Reset before the product: q = δn·Whnᵀ, δr, and adjoint += scale ∘ q ∘ r.
  void through_reset(const Weights& weights, const Gates& gates, int64_t at) const {
    const Sizes& s = layer_.size;
    over_tiles(s.blocks(), slice_.number,
               [&](auto height, auto width, int64_t row, int64_t j) GRUJAX_INLINE_LAMBDA {
                 constexpr int M = decltype(height)::value, C = decltype(width)::value;
                 Vector sums[M][C][1] = {};
                 multiply_deltas(sums, at + row, j, weights.w_h_t, 3, 1, 0);
                 for (int m = 0; m < M; ++m)
                   for (int c = 0; c < C; ++c) {
                     const int64_t unit = (j + c) * kLanes, k = (at + row + m) * s.padded() + unit;
                     const int lanes = gates.stride == s.units ? s.lanes(j + c) : kLanes;
                     const Vector r = load(gates.at(row + m).reset + unit, lanes);
                     const Vector q = sums[m][c][0], reset_seen = r * load(seen_ + k);
                     float* to = adjoint_ + (row + m) * s.padded() + unit;
                     store(to, load(to) + of_state(q * r, row + m, j + c));
                     store(deltas(j + c, at + row + m) + kLanes, q * reset_seen * (1.f - r));
                     store(seen_reset_ + k, reset_seen);
                   }
               });
  }

  GRUJAX_INLINE Vector of_state(Vector d_seen, int64_t row, int64_t j) const {
    if (!layer_.scale) return d_seen;
    const Sizes& s = layer_.size;
    const float* scale = layer_.scale + (slice_.first + row) * s.units + j * kLanes;
    return load(scale, s.lanes(j)) * d_seen;
  }

  // Adds the chunk's part to the gradients of the weights.
  void sum_weights(int64_t rows, const WeightSums& sums) const {
    const Sizes& s = layer_.size;
    const int64_t x_groups = s.input_groups(), h_groups = s.unit_groups();
    pack_groups(rows, x_groups, chunk_.inputs, x_groups * kRows, packed_inputs_);
    pack_groups(rows, h_groups, seen_, s.padded(), packed_states_);
    if (!layer_.reset_after)
      pack_groups(rows, h_groups, seen_reset_, s.padded(), packed_reset_);
    for (int64_t j = 0; j < s.blocks(); ++j)
      sums.add(s, j, rows, deltas(j, 0), packed_inputs_, packed_states_, packed_reset_);
  }

  // [δr δz δn]·Wxᵀ
  void differentiate_inputs(const Weights& weights, int64_t begin, int64_t positions,
                            const Floats& d_xs) const {
    const Sizes& s = layer_.size;
    const int64_t stride = s.input_blocks() * kLanes, number = slice_.number;
    over_tiles(s.input_blocks(), positions * number,
               [&](auto height, auto width, int64_t row, int64_t j) GRUJAX_INLINE_LAMBDA {
                 constexpr int M = decltype(height)::value, C = decltype(width)::value;
                 Vector sums[M][C][1] = {};
                 multiply_deltas(sums, row, j, weights.w_x_t, 1, 3, 0);
                 for (int m = 0; m < M; ++m)
                   for (int c = 0; c < C; ++c)
                     store(d_inputs_ + (row + m) * stride + (j + c) * kLanes, sums[m][c][0]);
               });
    for (int64_t i = 0; i < positions; ++i)
      for (int64_t row = 0; row < number; ++row) {
        const int64_t to = layer_.time(begin + i) * s.rows + slice_.first + row;
        for (int64_t at = 0; at < s.inputs; at += kLanes)
          d_xs.set(to * s.inputs + at, load(d_inputs_ + (i * number + row) * stride + at),
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
  Chunk chunk_;
  Gates gates_;
  float *before_, *seen_, *seen_reset_, *update_, *deltas_, *packed_inputs_, *packed_states_;
  float *packed_reset_, *d_inputs_, *adjoint_, *d_reset_;
  float zoneout_;
};

}  // namespace

void backward(Pool& pool, const Arguments& arguments, const BackwardArguments& more,
              const BackwardResults& results) {
  const Sizes& s = arguments.size;
  const Plan plan(s, pool.threads());
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
