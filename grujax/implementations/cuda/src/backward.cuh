// The backward pass: d_h[k] = Σ_g Σ_u d_gate[g][u]·w_h[g][k][u], where blocks send each other the
// gradients of the gates.
#pragma once

#include "coordinates.cuh"
#include "exchange.cuh"
#include "numbers.cuh"
#include "product.cuh"

// The bits of `sizes[4]`, in the order of the operands.
enum BackwardOperand {
  RESET,
  UPDATE,
  CANDIDATE,
#if RESET_AFTER
  PRODUCT,
#endif
  BEFORE,
  D_HS,
  D_LAST,
  W_H,
  RESTART,
  DROPOUT_MASK,
  ZONEOUT_RATE,
  VALID
};

// `before` is the state before each step, in the order in which the recurrence ran; `d_hs` and
// `d_last` are the cotangents of `hs` and `h_last`. Writes δr, δz, δn as [models, T, B, 3, H] to
// `d_x` and, where they differ, δr, δz, δc to `d_products`. An absent operand is a dummy buffer.
GLOBAL grujax_backward(const float* reset, const float* update, const float* candidate,
#if RESET_AFTER
                       const float* product,
#endif
                       const Stored* before, const Stored* d_hs, const Stored* d_last,
                       const float* w_h, const bool* restart, const float* dropout_mask,
                       const float* zoneout_rate, const bool* valid, const int* sizes, Stored* d_x,
#if RESET_AFTER
                       Stored* d_products,
#endif
                       float* d_h0, float* d_reset_state) {
  constexpr int H = HIDDEN;
  using Sums = Product<(RESET_AFTER ? 3 : 2) * H, 1, BACKWARD_LANES>;
  constexpr int SLOTS = Sums::SLOTS;
  const Coordinates at(sizes);
  const Index state_size = Index(at.batch) * H;
  const Index sequence_size = Index(at.steps) * state_size;
  reset = at.select_model(reset, RESET, sequence_size);
  update = at.select_model(update, UPDATE, sequence_size);
  candidate = at.select_model(candidate, CANDIDATE, sequence_size);
#if RESET_AFTER
  product = at.select_model(product, PRODUCT, sequence_size);
#endif
  before = at.select_model(before, BEFORE, sequence_size);
  d_hs = at.select_model(d_hs, D_HS, sequence_size);
  d_last = at.select_model(d_last, D_LAST, state_size);
  const Index first_row = Index(at.model) * at.steps * at.batch;  // of `d_x` and `d_products`
  d_h0 += at.model * state_size;
  d_reset_state += at.model * state_size;
  w_h = at.select_model(w_h, W_H, Index(3) * H * H);
  restart = at.select_model(restart, RESTART, Index(at.steps) * at.batch);
  dropout_mask = at.select_model(dropout_mask, DROPOUT_MASK, state_size);
  zoneout_rate = at.select_model(zoneout_rate, ZONEOUT_RATE, 1);
  valid = at.select_model(valid, VALID, Index(at.steps) * at.batch);

  Sums product_of;  // the products with the recurrent weights
  product_of.load_weights([&](int, int j, int k) {
    return w_h[(Index(j / H) * H + k) * H + j % H];
  });
#if !RESET_AFTER
  Product<H, 1, BACKWARD_LANES> candidate_of;
  candidate_of.load_weights([&](int, int j, int k) { return w_h[(Index(2) * H + k) * H + j]; });
#endif
#if HAS_ZONEOUT_RATE
  const float p = zoneout_rate[0];
#endif

  float d_state[SLOTS], d_reset[SLOTS], gates[SLOTS][4], h[SLOTS], d_here[SLOTS];
  const Slots<Sums> slots(product_of, at);
  // Between a step and the previous one in time, in elements of [T, B, H].
  const Index index_step = (at.reverse ? 1 : -Index(1)) * at.step_stride * H;
  const auto fetch = [&](int slot, Index step_start, bool is_far_from_end) {
    const Index index = step_start + slots.step_index(slot);
    gates[slot][0] = reset[index];
    gates[slot][1] = update[index];
    gates[slot][2] = candidate[index];
#if RESET_AFTER
    gates[slot][3] = product[index];
#endif
    h[slot] = from_storage(before[index]);
    d_here[slot] = from_storage(d_hs[index]);
#if HAS_VALID
    if (!valid[step_start / H + slots.row(slot) * at.row_stride]) d_here[slot] = 0.0f;
#endif
    if (!is_far_from_end) return;
    const Index later = index + index_step * PREFETCH_STEPS;
    prefetch(reset + later);
    prefetch(update + later);
    prefetch(candidate + later);
#if RESET_AFTER
    prefetch(product + later);
#endif
    prefetch(before + later);
    prefetch(d_hs + later);
  };
  const auto dropout_factor = [&](int slot) {
#if HAS_DROPOUT_MASK
    return slots.is_valid(slot) ? dropout_mask[slots.state_index(slot)] : 0.0f;
#else
    return 1.0f;
#endif
  };
  Index step_start = at.time(at.steps - 1) * at.step_stride * H;
#pragma unroll
  for (int slot = 0; slot < SLOTS; ++slot) {
    d_state[slot] = slots.is_valid(slot) ? from_storage(d_last[slots.state_index(slot)]) : 0.0f;
    d_reset[slot] = h[slot] = d_here[slot] = 0.0f;
    gates[slot][0] = gates[slot][1] = gates[slot][2] = gates[slot][3] = 0.0f;
    if (slots.is_valid(slot)) fetch(slot, step_start, PREFETCH_STEPS < at.steps);
  }

  const Exchange<Sums> exchange;
  for (int count = 0; count < at.steps; ++count, step_start += index_step) {
    float d_r[SLOTS], d_z[SLOTS], d_n[SLOTS];
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
      const float z = gates[slot][1], n = gates[slot][2];
      const float d = d_state[slot] + d_here[slot];
#if HAS_ZONEOUT_RATE
      const float u = z + p * (1 - z), du_dz = 1 - p;
#else
      const float u = z, du_dz = 1;
#endif
      d_n[slot] = d * (1 - u) * (1 - n * n);
      d_z[slot] = d * (h[slot] - n) * z * (1 - z) * du_dz;
      d_state[slot] = d * u;
    }
    const int last = (count + 1) * MESSAGES_PER_STEP - 1;
#if RESET_AFTER
    float d_c[SLOTS];
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
      const float r = gates[slot][0];
      d_c[slot] = d_n[slot] * r;
      d_r[slot] = d_c[slot] * gates[slot][3] * (1 - r);
    }
    product_of.store_remote(exchange, last, 2 * H, d_c);
#else
    float d_reset_masked[SLOTS][1];  // the gradient of r ∘ masked
    candidate_of.store_remote(exchange, last - 1, 0, d_n);
    exchange.arrive();
    candidate_of.multiply(exchange.wait(last - 1), d_reset_masked);
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
      const float r = gates[slot][0], d_masked = d_reset_masked[slot][0] * r;
      const float factor = dropout_factor(slot);
      d_r[slot] = d_masked * round_to_storage(factor * h[slot]) * (1 - r);
      d_state[slot] += factor * d_masked;
    }
#endif
    product_of.store_remote(exchange, last, 0, d_r);
    product_of.store_remote(exchange, last, H, d_z);
    exchange.arrive();
#if HAS_RESTART
    bool restarts_here[SLOTS];
#endif
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {  // while the message is in flight
#if HAS_RESTART
      restarts_here[slot] = false;
#endif
      if (!slots.is_valid(slot)) continue;
      if (count + 1 < at.steps)  // loads first: after the stores, registers would spill
        fetch(slot, step_start + index_step, count + 1 + PREFETCH_STEPS < at.steps);
      const Index row = step_start / H + slots.row(slot) * at.row_stride;
      const Index result = (first_row + row) * 3 * H + slots.unit(slot);
      d_x[result] = to_storage(d_r[slot]);
      d_x[result + H] = to_storage(d_z[slot]);
      d_x[result + 2 * H] = to_storage(d_n[slot]);
#if RESET_AFTER
      d_products[result] = to_storage(d_r[slot]);
      d_products[result + H] = to_storage(d_z[slot]);
      d_products[result + 2 * H] = to_storage(d_c[slot]);
#endif
#if HAS_RESTART
      restarts_here[slot] = restart[row];
#endif
    }
    float sums[SLOTS][1];
    product_of.multiply(exchange.wait(last), sums);
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
      d_state[slot] += dropout_factor(slot) * sums[slot][0];
#if HAS_RESTART
      if (restarts_here[slot]) {
        d_reset[slot] += d_state[slot];
        d_state[slot] = 0.0f;
      }
#endif
    }
  }
#pragma unroll
  for (int slot = 0; slot < SLOTS; ++slot)
    if (slots.is_valid(slot)) {
      d_h0[slots.state_index(slot)] = d_state[slot];
      d_reset_state[slots.state_index(slot)] = d_reset[slot];
    }
}
