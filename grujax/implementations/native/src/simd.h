// SIMD vectors of floats, sigmoid and tanh. One source, which the compiler turns into AVX-512, AVX2,
// SSE or NEON.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__AVX512F__) || defined(__FMA__)
#include <immintrin.h>
#endif

namespace grujax {

// kRows × 3 sums, 3 operands and a broadcast value fill the machine's registers.
#if defined(__AVX512F__)
constexpr int kLanes = 16, kRows = 8;
#elif defined(__AVX__)
constexpr int kLanes = 8, kRows = 4;
#elif defined(__aarch64__)
constexpr int kLanes = 4, kRows = 8;
#else
constexpr int kLanes = 4, kRows = 4;
#endif

#define GRUJAX_INLINE inline __attribute__((always_inline))
#define GRUJAX_INLINE_LAMBDA __attribute__((always_inline))

typedef float Vector __attribute__((vector_size(4 * kLanes)));
typedef float AnyVector __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef uint32_t Bits __attribute__((vector_size(4 * kLanes)));
typedef int32_t Mask __attribute__((vector_size(4 * kLanes)));
typedef uint16_t Halves __attribute__((vector_size(2 * kLanes)));
typedef uint8_t Bytes __attribute__((vector_size(kLanes)));

GRUJAX_INLINE Vector splat(float value) { return value - Vector{}; }

GRUJAX_INLINE Vector load(const float* from) { return *reinterpret_cast<const AnyVector*>(from); }

GRUJAX_INLINE void store(float* to, Vector values) { *reinterpret_cast<AnyVector*>(to) = values; }

// These access the first `lanes` only; the others are read as zero.
#ifdef __AVX512F__
GRUJAX_INLINE __mmask16 first_lanes(int lanes) { return static_cast<__mmask16>((1u << lanes) - 1); }
GRUJAX_INLINE Vector load_first(const float* from, int lanes) {
  return _mm512_maskz_loadu_ps(first_lanes(lanes), from);
}
GRUJAX_INLINE void store_first(float* to, Vector values, int lanes) {
  _mm512_mask_storeu_ps(to, first_lanes(lanes), values);
}
#else
GRUJAX_INLINE Vector load_first(const float* from, int lanes) {
  Vector values = {};
  std::memcpy(&values, from, 4 * lanes);
  return values;
}
GRUJAX_INLINE void store_first(float* to, Vector values, int lanes) {
  std::memcpy(to, &values, 4 * lanes);
}
#endif

GRUJAX_INLINE Vector load(const float* from, int lanes) {
  return lanes >= kLanes ? load(from) : load_first(from, lanes);
}

GRUJAX_INLINE void store(float* to, Vector values, int lanes) {
  if (lanes >= kLanes) {
    store(to, values);
  } else {
    store_first(to, values, lanes);
  }
}

GRUJAX_INLINE Vector from_bfloat16(Halves halves) {
  return reinterpret_cast<Vector>(__builtin_convertvector(halves, Bits) << 16);
}

// To the nearest bfloat16, ties to even; NaN stays NaN.
GRUJAX_INLINE Halves to_bfloat16(Vector values) {
  const Bits bits = reinterpret_cast<Bits>(values);
  const Bits nearest = bits + 0x7fff + ((bits >> 16) & 1);
  const Bits quiet = bits | 0x400000u;
  return __builtin_convertvector((values == values ? nearest : quiet) >> 16, Halves);
}

// An array in memory, of float32 or bfloat16. All arithmetic is in float32.
struct Floats {
  void* data = nullptr;
  bool is_bfloat16 = false;

  Floats operator+(int64_t offset) const {
    return {static_cast<char*>(data) + offset * (is_bfloat16 ? 2 : 4), is_bfloat16};
  }

  GRUJAX_INLINE Vector get(int64_t index, int lanes) const {
    if (!is_bfloat16) return load(static_cast<const float*>(data) + index, lanes);
    Halves halves = {};
    std::memcpy(&halves, static_cast<const uint16_t*>(data) + index, 2 * lanes);
    return from_bfloat16(halves);
  }

  GRUJAX_INLINE void set(int64_t index, Vector values, int lanes) const {
    if (!is_bfloat16) {
      store(static_cast<float*>(data) + index, values, lanes);
      return;
    }
    const Halves halves = to_bfloat16(values);
    std::memcpy(static_cast<uint16_t*>(data) + index, &halves, 2 * lanes);
  }

  // `values` after a `set` and a `get`.
  GRUJAX_INLINE Vector as_stored(Vector values) const {
    return is_bfloat16 ? from_bfloat16(to_bfloat16(values)) : values;
  }

};

// x, but at least `least` and at most `most`; NaN stays NaN.
GRUJAX_INLINE Vector clamp(Vector x, float least, float most) {
#if defined(__AVX512F__)
  const __m512 below = _mm512_min_ps((__m512)splat(most), (__m512)x);  // the second if one is NaN
  return (Vector)_mm512_max_ps((__m512)splat(least), below);
#elif defined(__AVX__)
  const __m256 below = _mm256_min_ps((__m256)splat(most), (__m256)x);
  return (Vector)_mm256_max_ps((__m256)splat(least), below);
#else
  x = x > most ? splat(most) : x;
  return x < least ? splat(least) : x;
#endif
}

// power = 2^n and rest = e^f − 1, with x = n·ln 2 + f and |f| ≤ ln 2 / 2. `rest` is NaN if x is.
GRUJAX_INLINE void split_exp(Vector x, Vector& power, Vector& rest) {
  x = clamp(x, -87.f, 88.f);
  // Adding 1.5·2^23 rounds to an integer, and leaves it in the lowest bits.
  const Vector shifted = x * 1.44269504088896341f + 12582912.f;
  const Vector n = shifted - 12582912.f;
  Vector f = x - n * 0.693359375f;  // ln 2 in two parts, the first with few digits
  f = f + n * 2.12194440e-4f;
  // (e^f − 1 − f) / f², of least relative error of `rest` by iterated least squares: 1.4e-8.
  Vector p = splat(0.00138825166f);
  p = p * f + 0.00836654752f;
  p = p * f + 0.0416672006f;
  p = p * f + 0.166665435f;
  p = p * f + 0.49999997f;
  rest = p * (f * f) + f;
  power = reinterpret_cast<Vector>((reinterpret_cast<Bits>(shifted) + 127) << 23);
}

GRUJAX_INLINE Vector sigmoid(Vector x) {
  Vector power, rest;
  split_exp(-x, power, rest);
  return 1.f / (1.f + (power * rest + power));
}

// E / (E + 2) with E = e^2x − 1: no cancellation for small x.
GRUJAX_INLINE Vector tanh(Vector x) {
  Vector power, rest;
  split_exp(x + x, power, rest);
  const Vector e = power * rest + (power - 1.f);
  return e / (e + 2.f);
}

// Lanes of a and b in turns, from lane `first` of both on.
template <int first, size_t... i>
GRUJAX_INLINE Vector interleave(Vector a, Vector b, std::index_sequence<i...>) {
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(a, b, (i % 2 * kLanes + first + i / 2)...);
#else
  return __builtin_shuffle(a, b, Mask{(i % 2 * kLanes + first + i / 2)...});
#endif
}

// Each round rotates the bits of an entry's index, those of the row before those of the column, by
// one place.
GRUJAX_INLINE void transpose(Vector (&square)[kLanes]) {
  constexpr std::make_index_sequence<kLanes> kAll;
  constexpr int kHalf = kLanes / 2;
#pragma GCC unroll 4
  for (int round = 1; round < kLanes; round *= 2) {
    Vector next[kLanes];
#pragma GCC unroll 8
    for (int i = 0; i < kHalf; ++i) {
      next[2 * i] = interleave<0>(square[i], square[i + kHalf], kAll);
      next[2 * i + 1] = interleave<kHalf>(square[i], square[i + kHalf], kAll);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) square[i] = next[i];
  }
}

template <int N>
using Constant = std::integral_constant<int, N>;

// Calls f(Constant<M>, row) for tiles of M ≤ kMost rows that cover [0, rows).
template <int kMost, class F>
GRUJAX_INLINE void tile_rows(int64_t rows, F&& f) {
  int64_t row = 0;
  for (; rows - row >= kMost; row += kMost) f(Constant<kMost>{}, row);
  if constexpr (kMost > 8) {
    if (rows - row >= 8) {
      f(Constant<8>{}, row);
      row += 8;
    }
  }
  if constexpr (kMost > 4) {
    if (rows - row >= 4) {
      f(Constant<4>{}, row);
      row += 4;
    }
  }
  if (rows - row >= 2) {
    f(Constant<2>{}, row);
    row += 2;
  }
  if (rows - row >= 1) f(Constant<1>{}, row);
}

}  // namespace grujax
