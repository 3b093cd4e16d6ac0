// Products of bfloat16, exact, whose sums are float32, where the processor has instructions for them.
// The library is for processors without these too, so the compiler may not use them by itself.
#pragma once

#include "simd.h"

// Clang assembles only what the target has. GCC assembles all, and knows the names of the features.
#if defined(__AVX512F__) && (defined(__clang__) ? defined(__AVX512BF16__) : __GNUC__ >= 11)
#define GRUJAX_HAS_PAIRS
#endif
#if defined(GRUJAX_HAS_PAIRS) && defined(__linux__) && \
    (!defined(__clang__) || (defined(__AMX_TILE__) && defined(__AMX_BF16__)))
#define GRUJAX_HAS_TILES
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace grujax {

#ifdef GRUJAX_HAS_PAIRS
// Pairs in vectors (AVX512-BF16).
struct PairProduct {
  static constexpr int kPerCell = 2, kCellGroup = 1, kMostRows = kRows, kRowsBeyond = 0;
  static constexpr bool kHasTiles = false;

  struct Session {};

  static bool is_available() {
    static const bool is_available = __builtin_cpu_supports("avx512bf16");
    return is_available;
  }

  // Intel's processors multiply float32 as fast (Sapphire Rapids: a vector of pairs in two cycles).
  static bool is_faster() { return is_available() && !__builtin_cpu_is("intel"); }

  static GRUJAX_INLINE Vector splat_cell(float cell) {
    uint32_t bits;
    std::memcpy(&bits, &cell, 4);
    return reinterpret_cast<Vector>(bits - Bits{});
  }

  static GRUJAX_INLINE Vector multiply_add(Vector a, Vector b, Vector c) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));
    return c;
  }

  static GRUJAX_INLINE Vector add_cells(Vector values, Vector sums) {
    const Bits bits = reinterpret_cast<Bits>(values);
    return reinterpret_cast<Vector>(bits << 16) + reinterpret_cast<Vector>(bits & 0xffff0000u) +
           sums;
  }

  static GRUJAX_INLINE void store_cells(float* to, Vector values) {
    Halves halves;
    asm("vcvtneps2bf16 %1, %0" : "=v"(halves) : "v"(values));
    std::memcpy(to, &halves, sizeof halves);
  }

  // The entries must be bfloat16 already; those from `end` on are zero.
  template <class F>
  static GRUJAX_INLINE Vector gather_cells(int64_t k, int64_t end, F&& get) {
    if (k >= end) return Vector{};
    const Bits low = reinterpret_cast<Bits>(get(k)) >> 16;
    return reinterpret_cast<Vector>(k + 1 < end ? low | reinterpret_cast<Bits>(get(k + 1)) : low);
  }
};
#endif

#ifdef GRUJAX_HAS_TILES
// Pairs in tiles of 16 rows (Intel's AMX). A matmul takes groups of eight cells, the last of which
// zeros fill, and reads 16 rows of the left operand, also where fewer are wanted.
struct TileProduct : PairProduct {
  static constexpr int kCellGroup = 8, kMostRows = 16, kRowsBeyond = kMostRows - 1;
  static constexpr bool kHasTiles = true;

  // Linux lets a process use tiles after it has asked.
  static bool is_available() {
    static const bool is_available = [] {
      constexpr unsigned kFeatures = 1u << 22 | 1u << 24;  // AMX-BF16, AMX-TILE
      constexpr int kRequestPermission = 0x1023, kTileData = 18;
      unsigned a, b, c, d = 0;
      return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kFeatures) == kFeatures &&
             PairProduct::is_available() &&
             syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
    }();
    return is_available;
  }

  // The time in which a thread may multiply.
  class Session {
   public:
    Session() {
      const Shapes shapes;
      asm volatile("ldtilecfg %0" : : "m"(shapes));
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session() { asm volatile("tilerelease"); }

   private:
    struct alignas(64) Shapes {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 4 * kCellGroup, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, kCellGroup};
    };
  };

  // Sums of M × C × G vectors, see `multiply`: tiles 0 to C·G − 1, and tiles 3 to 7 for operands.
  template <int M, int C, int G>
  class Sums {
   public:
    static_assert(M <= kMostRows && C * G <= 3);

    GRUJAX_INLINE Sums() {
      each([](auto n) GRUJAX_INLINE_LAMBDA {
        asm volatile("tilezero %%tmm%c0" : : "i"(decltype(n)::value));
      });
    }

    // Adds a product of K cells, a multiple of the group.
    GRUJAX_INLINE void add(int64_t K, const float* a, int64_t a_row, const float* b,
                           int64_t b_step, int64_t b_block, int64_t b_gate) const {
      auto at = [&](int n) { return b + n / G * b_block + n % G * b_gate; };
      for (; K >= 2 * kCellGroup; K -= 2 * kCellGroup) {
        load_tile<3>(a, a_row);
        each([&](auto n) GRUJAX_INLINE_LAMBDA {
          constexpr int N = decltype(n)::value, kOperand = 4 + N % 2;
          load_tile<kOperand>(at(N), b_step);
          multiply_tiles<N, 3, kOperand>();
        });
        a += 2 * kCellGroup;
        b += 2 * kCellGroup * b_step;
      }
      if (K == 0) return;
      load_tile<6>(a, a_row);
      each([&](auto n) GRUJAX_INLINE_LAMBDA {
        constexpr int N = decltype(n)::value;
        load_tile<7>(at(N), b_step);
        multiply_tiles<N, 6, 7>();
      });
    }

    GRUJAX_INLINE void add_to(Vector (&sums)[M][C][G]) const {
      each([&](auto n) GRUJAX_INLINE_LAMBDA {
        constexpr int N = decltype(n)::value;
        alignas(64) float values[kMostRows][kLanes];
        asm volatile("tilestored %%tmm%c2, (%0,%1,1)"
                     : : "r"(values), "r"(sizeof values[0]), "i"(N) : "memory");
        for (int m = 0; m < M; ++m) sums[m][N / G][N % G] += load(values[m]);
      });
    }

   private:
    template <class F>
    static GRUJAX_INLINE void each(F&& f) {
      f(Constant<0>{});
      if constexpr (C * G > 1) f(Constant<1>{});
      if constexpr (C * G > 2) f(Constant<2>{});
    }

    template <int N>
    static GRUJAX_INLINE void load_tile(const float* from, int64_t stride) {
      asm volatile("tileloadd (%0,%1,1), %%tmm%c2"
                   : : "r"(from), "r"(4 * stride), "i"(N) : "memory");
    }

    template <int N, int kLeft, int kRight>
    static GRUJAX_INLINE void multiply_tiles() {
      asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0"
                   : : "i"(N), "i"(kLeft), "i"(kRight));
    }
  };
};
#endif

}  // namespace grujax
