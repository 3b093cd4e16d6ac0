// Both passes of all models.
#pragma once

#include "evaluate.h"
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

void forward(Pool& pool, const Arguments& arguments, const ForwardResults& results);

void backward(Pool& pool, const Arguments& arguments, const BackwardArguments& more,
              const BackwardResults& results);

}  // namespace grujax
