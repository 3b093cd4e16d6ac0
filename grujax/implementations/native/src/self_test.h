// The layer in double precision, a transcription of the equations. The kernel is checked against it
// when it is loaded, and by the tests.
#pragma once

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "gru.h"

namespace grujax {

struct Reference {
  std::vector<double> h_last, hs;
};

// The outputs of one model with float32 arguments.
inline Reference run_reference(const Layer& layer) {
  const Sizes& s = layer.size;
  const int64_t B = s.rows, I = s.inputs, H = s.units;
  auto value = [](const Floats& array, int64_t index) -> double {
    return static_cast<const float*>(array.data)[index];
  };
  // In terms of tanh, for `exp` has a newer symbol in glibc since 2.29.
  auto sigma = [](double x) { return 0.5 + 0.5 * std::tanh(0.5 * x); };
  Reference out{std::vector<double>(B * H), std::vector<double>(s.steps * B * H)};
  const double zoneout_rate = layer.zoneout_rate ? *layer.zoneout_rate : 0;
  std::vector<double> h(H), masked(H), gates[3], product(H);
  for (auto& gate : gates) gate.resize(H);
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t k = 0; k < H; ++k) h[k] = value(layer.h0, b * H + k);
    for (int64_t position = 0; position < s.steps; ++position) {
      const int64_t at = layer.time(position) * B + b;
      if (layer.valid && !layer.valid[at]) continue;
      for (int64_t k = 0; k < H; ++k) {
        if (layer.restart && layer.restart[at]) h[k] = value(layer.reset_state, b * H + k);
        masked[k] = h[k] * (layer.dropout_mask ? layer.dropout_mask[b * H + k] : 1);
      }
      for (int g = 0; g < 3; ++g)
        for (int64_t k = 0; k < H; ++k) {
          double x = value(layer.b_x, g * H + k), recurrent = 0;
          for (int64_t i = 0; i < I; ++i)
            x += value(layer.xs, at * I + i) * value(layer.w_x, (g * I + i) * H + k);
          for (int64_t i = 0; i < H; ++i)
            recurrent += (g == 2 && !layer.reset_after ? gates[0][i] : 1) * masked[i] *
                         value(layer.w_h, (g * H + i) * H + k);
          if (g < 2) gates[g][k] = sigma(x + recurrent);
          if (g == 2) {
            recurrent += value(layer.b_hn, k);
            gates[2][k] = std::tanh(x + (layer.reset_after ? gates[0][k] : 1) * recurrent);
          }
        }
      for (int64_t k = 0; k < H; ++k) {
        const double u = gates[1][k] + zoneout_rate * (1 - gates[1][k]);
        if (!layer.keeps(at, k)) h[k] = u * h[k] + (1 - u) * gates[2][k];
        out.hs[at * H + k] = h[k];
      }
    }
    std::copy(h.begin(), h.end(), out.h_last.begin() + b * H);
  }
  return out;
}

// Random float32 arguments that all models share, the results of each model, and a cotangent for
// each output. Models of the same direction have the same results.
class Trial {
 public:
  Arguments arguments;
  std::vector<float> inputs[7], cotangents[2], outputs[2], gates[4], gradients[7];
  std::vector<uint8_t> valid, restart, kept;
  std::vector<float> dropout_mask;
  float zoneout_rate = 0.3f;

  // `masks` has one bit each for valid, restart, kept, zoneout_rate, dropout_mask. Where
  // `keeps_rows`, all units of a row are kept together.
  Trial(const Sizes& size, int64_t reverse, bool reset_after, int masks, bool keeps_rows,
        unsigned seed)
      : random_(seed) {
    Arguments& a = arguments;
    a.size = size;
    a.reverse = reverse;
    a.reset_after = reset_after;
    const int64_t T = size.steps, B = size.rows, I = size.inputs, H = size.units;
    const int64_t sizes[7] = {3 * I * H, 3 * H * H, 3 * H, H, T * B * I, B * H, B * H};
    ModelArray* arrays[7] = {&a.w_x, &a.w_h, &a.b_x, &a.b_hn, &a.xs, &a.h0, &a.reset_state};
    for (int i = 0; i < 7; ++i) {
      inputs[i] = draw(sizes[i]);
      gradients[i].assign(size.models * sizes[i], -1.f);
      arrays[i]->data = inputs[i].data();
    }
    for (int i = 0; i < 2; ++i) {
      cotangents[i] = draw(i ? T * B * H : B * H);
      outputs[i].assign(size.models * cotangents[i].size(), -1.f);
    }
    for (auto& gate : gates) gate.assign(size.models * T * B * H, -1.f);
    auto draw_mask = [&](int bit, std::vector<uint8_t>& mask, int64_t number, ModelArray& array) {
      if (!(masks & bit)) return;
      for (int64_t i = 0; i < number; ++i) mask.push_back(random_() % 3 == 0);
      array.data = mask.data();
    };
    draw_mask(1, valid, T * B, a.valid);
    draw_mask(2, restart, T * B, a.restart);
    a.kept_units = keeps_rows ? 1 : H;
    draw_mask(4, kept, T * B * a.kept_units, a.kept);
    if (masks & 8) a.zoneout_rate.data = &zoneout_rate;
    dropout_mask = draw(B * H);
    if (masks & 16) a.dropout_mask.data = dropout_mask.data();
    // Every row's valid steps come first. In reverse, a row restarts at its last valid step,
    // because the previous state is not in `hs`.
    for (int64_t i = B; i < static_cast<int64_t>(valid.size()); ++i) valid[i] &= valid[i - B];
    for (int64_t i = 0; i < static_cast<int64_t>(valid.size()) && !restart.empty(); ++i)
      restart[i] &= valid[i];
    for (int64_t i = 0; reverse && i + B < static_cast<int64_t>(valid.size()); ++i)
      if (valid[i] && !valid[i + B] && !restart.empty()) restart[i] = 1;
  }

  void run(Pool& pool, bool keep_gates) {
    auto stacked = [](std::vector<float>& values) {
      return ModelArray{values.data(), false, true};
    };
    auto shared = [](std::vector<float>& values) {
      return ModelArray{values.data(), false, false};
    };
    GateResiduals residuals;
    if (keep_gates) {
      ModelArray* arrays[4] = {&residuals.reset, &residuals.update, &residuals.candidate,
                               &residuals.product};
      for (int i = 0; i < (arguments.reset_after ? 4 : 3); ++i) *arrays[i] = stacked(gates[i]);
    }
    forward(pool, arguments, {stacked(outputs[0]), stacked(outputs[1]), residuals});
    backward(
        pool, arguments,
        {stacked(outputs[1]), residuals, shared(cotangents[0]), shared(cotangents[1])},
        {stacked(gradients[0]), stacked(gradients[1]), stacked(gradients[2]), stacked(gradients[3]),
         stacked(gradients[4]), stacked(gradients[5]), stacked(gradients[6])});
  }

  // The largest error of the outputs, and of the gradients along a random direction.
  double error() {
    double largest = 0;
    for (int64_t m = 0; m < arguments.size.models; ++m) {
      const int64_t first = m % 2;
      if (m == first) largest = std::max(largest, error(m));
      auto differ = [&](const std::vector<float>& all, size_t size) {
        return std::memcmp(&all[m * size], &all[first * size], 4 * size) != 0;
      };
      for (int i = 0; i < 2; ++i)
        if (differ(outputs[i], cotangents[i].size())) return 1;
      for (int i = 0; i < 7; ++i)
        if (differ(gradients[i], inputs[i].size())) return 1;
    }
    return largest;
  }

 private:
  std::vector<float> draw(int64_t number) {
    std::uniform_real_distribution<float> uniform(-0.5f, 0.5f);
    std::vector<float> values(number);
    for (float& value : values) value = uniform(random_);
    return values;
  }

  double error(int64_t model) {
    const Reference want = run_reference(arguments.layer(model));
    double largest = 0;
    auto compare = [&](const std::vector<double>& right, const std::vector<float>& got) {
      for (size_t i = 0; i < right.size(); ++i)
        largest = std::max(largest, std::abs(right[i] - got[model * right.size() + i]));
    };
    compare(want.h_last, outputs[0]);
    compare(want.hs, outputs[1]);
    constexpr float kStep = 1.f / 256;
    double slope_from_gradients = 0, length = 1;
    std::vector<std::vector<float>> direction;
    for (int i = 0; i < 7; ++i) {
      direction.push_back(draw(inputs[i].size()));
      const float* gradient = gradients[i].data() + model * inputs[i].size();
      for (size_t k = 0; k < direction[i].size(); ++k) {
        slope_from_gradients += double(direction[i][k]) * gradient[k];
        length += double(gradient[k]) * gradient[k];
      }
    }
    // A difference of fourth order, whose error is below that of float32.
    const double slope =
        (8 * (loss(model, direction, kStep) - loss(model, direction, -kStep)) -
         (loss(model, direction, 2 * kStep) - loss(model, direction, -2 * kStep))) /
        (12 * kStep);
    return std::max(largest, std::abs(slope - slope_from_gradients) / std::sqrt(length) / 10);
  }

  double loss(int64_t model, const std::vector<std::vector<float>>& direction, float step) {
    const std::vector<float> kept[7] = {inputs[0], inputs[1], inputs[2], inputs[3],
                                        inputs[4], inputs[5], inputs[6]};
    for (int i = 0; i < 7; ++i)
      for (size_t k = 0; k < inputs[i].size(); ++k) inputs[i][k] += step * direction[i][k];
    const Reference moved = run_reference(arguments.layer(model));
    for (int i = 0; i < 7; ++i) std::copy(kept[i].begin(), kept[i].end(), inputs[i].begin());
    double sum = 0;
    for (size_t i = 0; i < moved.hs.size(); ++i) sum += moved.hs[i] * cotangents[1][i];
    for (size_t i = 0; i < moved.h_last.size(); ++i) sum += moved.h_last[i] * cotangents[0][i];
    return sum;
  }

  std::mt19937 random_;
};

}  // namespace grujax
