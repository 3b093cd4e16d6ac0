// Conversion between float32, in which the kernel computes, and the dtype of states and sequences.
#pragma once

#if BFLOAT16
using Stored = unsigned short;
__device__ __forceinline__ float from_storage(Stored value) {
  return __uint_as_float(value * 65536u);
}
__device__ __forceinline__ Stored to_storage(float value) {
  return static_cast<Stored>(to_bfloat16(value, 0.0f));
}
#else
using Stored = float;
__device__ __forceinline__ float from_storage(Stored value) { return value; }
__device__ __forceinline__ Stored to_storage(float value) { return value; }
#endif

__device__ __forceinline__ float round_to_storage(float value) {
  return from_storage(to_storage(value));
}

__device__ __forceinline__ float hyperbolic_tangent(float x) { return 2 * sigmoid(2 * x) - 1; }
