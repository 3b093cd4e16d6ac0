// The forward and the backward pass of all models, and their arguments.
#pragma once

#include "gates.h"
#include "parallel.h"

namespace grujax {

// An array of all models: one array per model, stacked, or one that the models share.
struct ModelArray {
  void* data = nullptr;
  bool is_bfloat16 = false;
  bool is_stacked = false;

  Floats of(int64_t model, int64_t size) const {
    const Floats floats{data, is_bfloat16};
    return is_stacked ? floats + model * size : floats;
  }

  template <class T>
  T* raw(int64_t model, int64_t size) const {
    return data ? static_cast<T*>(data) + (is_stacked ? model * size : 0) : nullptr;
  }
};

struct Arguments {
  Sizes size;
  int64_t reverse;  // bit m % 2: whether model m runs in reverse
  bool reset_after;
  ProductKind product = ProductKind::kSingle;
  ModelArray w_x, w_h, b_x, b_hn, xs, h0, reset_state;
  // Of StepMasks; without data where None.
  ModelArray valid, restart, kept, zoneout_rate, dropout_mask;
  int64_t kept_units = 0;  // entries of `kept` for each row of a step: 1 or H

  // Whether everything that is multiplied is bfloat16.
  bool multiplies_bfloat16() const {
    for (const ModelArray* array : {&w_x, &w_h, &xs, &h0, &reset_state})
      if (!array->is_bfloat16) return false;
    return true;
  }

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
    layer.valid = valid.raw<uint8_t>(m, T * B);
    layer.restart = restart.raw<uint8_t>(m, T * B);
    layer.kept = kept.raw<uint8_t>(m, T * B * kept_units);
    layer.kept_units = kept_units;
    layer.zoneout_rate = zoneout_rate.raw<float>(m, 1);
    layer.dropout_mask = dropout_mask.raw<float>(m, B * H);
    return layer;
  }
};

// The gates that the forward pass keeps; without data if the backward pass recomputes them.
struct GateResiduals {
  ModelArray reset, update, candidate, product;

  Gates of(const Sizes& s, int64_t m) const {
    const int64_t size = s.steps * s.rows * s.units;
    return {reset.raw<float>(m, size), update.raw<float>(m, size), candidate.raw<float>(m, size),
            product.raw<float>(m, size), s.units};
  }
};

struct ForwardResults {
  ModelArray h_last, hs;
  GateResiduals gates;
};

// What the backward pass takes in addition to `Arguments`.
struct BackwardArguments {
  ModelArray hs;
  GateResiduals gates;
  ModelArray d_h_last, d_hs;  // cotangents
};

// The gradients of the arguments.
struct BackwardResults {
  ModelArray w_x, w_h, b_x, b_hn, xs, h0, reset_state;
};

void forward(Pool& pool, const Arguments& arguments, const ForwardResults& results);

void backward(Pool& pool, const Arguments& arguments, const BackwardArguments& extra,
              const BackwardResults& results);

}  // namespace grujax
