// The forward pass: h'[u] = GRU(Σ_k masked[k]·w_h[gate][k][u], ...), where masked is the state with
// recurrent dropout applied, which blocks send to each other.
#pragma once

#include "coordinates.cuh"
#include "exchange.cuh"
#include "numbers.cuh"
#include "product.cuh"

// The bits of `sizes[4]`, in the order of the operands.
enum ForwardOperand {
  PROJECTED,
  H0,
  RESET_STATE,
  W_H,
  B_HN,
  RESTART,
  DROPOUT_MASK,
  ZONEOUT_RATE,
  VALID,
  KEPT
};

// An absent operand is a dummy buffer. `projected` is [models, T, B, 3, H], or [T, B, models, 3, H]
// if `sizes[5]` is the number of models, rather than 1.
GLOBAL grujax_forward(const float* projected, const Stored* h0, const Stored* reset_state,
                      const float* w_h, const float* b_hn, const bool* restart,
                      const float* dropout_mask, const float* zoneout_rate, const bool* valid,
                      const bool* kept, const int* sizes, Stored* h_last, Stored* hs
#if KEEP_GATES
                      ,
                      float* reset, float* update, float* candidate
#if RESET_AFTER
                      ,
                      float* product
#endif
#endif
) {
  constexpr int H = HIDDEN;
  using Sums = Product<H, RESET_AFTER ? 3 : 2, FORWARD_LANES>;
  constexpr int SLOTS = Sums::SLOTS;
  const Coordinates at(sizes);
  const Index state_size = Index(at.batch) * H;
  const Index sequence_size = Index(at.steps) * state_size;
  const Index projected_row_size = Index(sizes[5]) * 3 * H;
  projected += sizes[5] > 1 ? Index(at.model) * 3 * H
                            : (at.batched >> PROJECTED & 1) * at.model * sequence_size * 3;
  h0 = at.select_model(h0, H0, state_size);
  reset_state = at.select_model(reset_state, RESET_STATE, state_size);
  w_h = at.select_model(w_h, W_H, Index(3) * H * H);
  b_hn = at.select_model(b_hn, B_HN, H);
  restart = at.select_model(restart, RESTART, Index(at.steps) * at.batch);
  dropout_mask = at.select_model(dropout_mask, DROPOUT_MASK, state_size);
  zoneout_rate = at.select_model(zoneout_rate, ZONEOUT_RATE, 1);
  valid = at.select_model(valid, VALID, Index(at.steps) * at.batch);
  kept = at.select_model(kept, KEPT, KEPT_UNITS == 1 ? Index(at.steps) * at.batch : sequence_size);
  h_last += at.model * state_size;

  Sums product_of;  // the products with the recurrent weights
  product_of.load_weights([&](int g, int k, int u) { return w_h[(Index(g) * H + k) * H + u]; });
#if !RESET_AFTER
  Product<H, 1, FORWARD_LANES> candidate_of;
  candidate_of.load_weights([&](int, int k, int u) { return w_h[(Index(2) * H + k) * H + u]; });
#endif
#if HAS_ZONEOUT_RATE
  const float p = zoneout_rate[0];
#endif

  // For each slot: the state, what is sent to other blocks, and the inputs of the next step.
  float state[SLOTS], sent[SLOTS], x[SLOTS][3], bias[SLOTS];
  const Slots<Sums> slots(product_of, at);
  const Index row_step = (at.reverse ? -Index(1) : 1) * at.step_stride;  // rows between steps
#if HAS_RESTART
  bool restarts_next[SLOTS];
  const auto restarts_at = [&](int slot, int step) {
    if (step >= at.steps) return false;
    return restart[at.time(step) * at.step_stride + slots.row(slot) * at.row_stride];
  };
#endif
  const Index next_inputs = row_step * projected_row_size;
  Index next = at.time(0) * at.step_stride + slots.first_row * at.row_stride;
  const float* inputs = projected + next * projected_row_size + slots.first_unit;
#if HAS_VALID
  bool is_valid_step[SLOTS];  // whether the step in `x` is valid
#endif
  const auto fetch = [&](int slot, bool is_far_from_end) {
    const float* slot_inputs =
        inputs + Sums::row_of(slot) * at.row_stride * projected_row_size + Sums::unit_of(slot);
#pragma unroll
    for (int g = 0; g < 3; ++g) x[slot][g] = slot_inputs[g * H];
    if (is_far_from_end) {
#pragma unroll
      for (int g = 0; g < 3; ++g) prefetch(slot_inputs + next_inputs * PREFETCH_STEPS + g * H);
    }
    const Index row = next + Sums::row_of(slot) * at.row_stride;
    bool keeps_state = false;
#if HAS_VALID
    is_valid_step[slot] = valid[row];
    keeps_state = !is_valid_step[slot];
#endif
#if KEPT_UNITS
    const bool* keeps_unit = kept + row * KEPT_UNITS + (KEPT_UNITS == 1 ? 0 : slots.unit(slot));
    keeps_state |= *keeps_unit;
    if (is_far_from_end) prefetch(keeps_unit + row_step * KEPT_UNITS * PREFETCH_STEPS);
#endif
    if (keeps_state) x[slot][1] = __uint_as_float(0x7f800000u);  // +inf: the update gate is 1
  };
  const auto apply_dropout = [&](float (&states)[SLOTS]) {
#if HAS_DROPOUT_MASK
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot)
      states[slot] = slots.is_valid(slot)
                         ? round_to_storage(dropout_mask[slots.state_index(slot)] * states[slot])
                         : 0.0f;
#endif
  };
#pragma unroll
  for (int slot = 0; slot < SLOTS; ++slot) {
    const bool is_valid = slots.is_valid(slot);
    state[slot] = is_valid ? from_storage(h0[slots.state_index(slot)]) : 0.0f;
    bias[slot] = b_hn[slots.unit(slot)];
    x[slot][0] = x[slot][1] = x[slot][2] = 0.0f;
#if HAS_RESTART
    restarts_next[slot] = is_valid && restarts_at(slot, 1);
    if (is_valid && restarts_at(slot, 0))
      state[slot] = from_storage(reset_state[slots.state_index(slot)]);
#endif
    if (is_valid) fetch(slot, PREFETCH_STEPS < at.steps);
  }
  inputs += next_inputs;
  next += row_step;

  const Exchange<Sums> exchange;
#pragma unroll
  for (int slot = 0; slot < SLOTS; ++slot) sent[slot] = state[slot];
  apply_dropout(sent);
  product_of.store_remote(exchange, 0, 0, sent);
  exchange.arrive();
  // Where this lane writes, in each of the results: one index takes fewer registers than pointers.
  Index step_start =
      at.model * sequence_size + at.time(0) * at.step_stride * H + slots.first_step_index;
  for (int step = 0; step < at.steps; ++step, step_start += row_step * H) {
    const unsigned* message = exchange.wait(step * MESSAGES_PER_STEP);
    const bool is_last = step + 1 == at.steps;
    float sums[SLOTS][RESET_AFTER ? 3 : 2], gates[SLOTS][4], outputs[SLOTS];
    product_of.multiply(message, sums);
#if !RESET_AFTER
    float candidate_sums[SLOTS][1];
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
      gates[slot][0] = sigmoid(x[slot][0] + sums[slot][0]);
      sent[slot] *= gates[slot][0];
    }
    candidate_of.store_remote(exchange, step * MESSAGES_PER_STEP + 1, 0, sent);
    exchange.arrive();
    candidate_of.multiply(exchange.wait(step * MESSAGES_PER_STEP + 1), candidate_sums);
#endif
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {
      const float z = sigmoid(x[slot][1] + sums[slot][1]);
#if RESET_AFTER
      const float r = sigmoid(x[slot][0] + sums[slot][0]);
      const float c = sums[slot][2] + bias[slot];
      const float n = hyperbolic_tangent(x[slot][2] + r * c);
      gates[slot][0] = r;
      gates[slot][3] = c;
#else
      const float n = hyperbolic_tangent(x[slot][2] + (candidate_sums[slot][0] + bias[slot]));
#endif
#if HAS_ZONEOUT_RATE
      const float u = z + p * (1 - z);
#else
      const float u = z;
#endif
      outputs[slot] = u == 1.0f ? state[slot] : round_to_storage(u * state[slot] + (1 - u) * n);
      state[slot] = outputs[slot];
#if HAS_RESTART
      if (restarts_next[slot] && !is_last)
        state[slot] = from_storage(reset_state[slots.state_index(slot)]);
#endif
      sent[slot] = state[slot];
      gates[slot][1] = z;
      gates[slot][2] = n;
    }
    apply_dropout(sent);
    if (!is_last) {
      product_of.store_remote(exchange, (step + 1) * MESSAGES_PER_STEP, 0, sent);
      exchange.arrive();
    }
#pragma unroll
    for (int slot = 0; slot < SLOTS; ++slot) {  // while the message is in flight
      if (!slots.is_valid(slot)) continue;
      const Index index = step_start + slots.step_offset(slot);
#if HAS_VALID
      hs[index] = is_valid_step[slot] ? to_storage(outputs[slot]) : Stored(0);
#else
      hs[index] = to_storage(outputs[slot]);
#endif
#if KEEP_GATES
      reset[index] = gates[slot][0];
      update[index] = gates[slot][1];
      candidate[index] = gates[slot][2];
#if RESET_AFTER
      product[index] = gates[slot][3];
#endif
#endif
      if (is_last) continue;
      fetch(slot, step + 1 + PREFETCH_STEPS < at.steps);
#if HAS_RESTART
      restarts_next[slot] = restarts_at(slot, step + 2);
#endif
    }
    inputs += next_inputs;
    next += row_step;
  }
#pragma unroll
  for (int slot = 0; slot < SLOTS; ++slot)
    if (slots.is_valid(slot)) h_last[slots.state_index(slot)] = to_storage(state[slot]);
}
