// The GRU over a whole sequence in one launch, on NVIDIA GPUs with thread block clusters (sm_90+).
//
// A cluster computes some rows of one model's batch, at all steps. Each of its blocks owns some
// units, whose recurrent weights stay in the registers of its threads from the first step to the
// last. A step multiplies the state of all units with these weights, adds up partial sums between
// the lanes of a warp, evaluates the gates, and sends the results to all blocks of the cluster
// through shared memory. That takes one barrier per step. Whatever does not depend on an earlier
// state, the projection of the inputs and the gradients of all weights, is computed outside as
// matrix products over all steps.
//
// With the reset gate before the product, there are two products and barriers per step. Forward:
// those of r and z with the state, then that of the candidate with r ∘ state. Backward: the
// candidate's, on which the gradient of r depends, then those of r and z.
//
// Read in this order:
//
//   gru.cu              this overview, and the compile-time parameters
//   layout.cuh          constants derived from them
//   device.cuh          device intrinsics
//   numbers.cuh         conversion between float32 and the stored dtype
//   product.cuh         the recurrent matrix product of a step,
//   lane_product.cuh        in float32 on the CUDA cores,
//   tensor_product.cuh      in bfloat16 on the tensor cores
//   exchange.cuh        messages between the blocks of a cluster
//   coordinates.cuh     which rows and units of which model a thread computes
//   forward.cuh         the forward pass
//   backward.cuh        the backward pass
//
// Compiled for one layout, with -D:
//
//   HIDDEN     units H, a multiple of the units per block
//   CLUSTER    blocks per cluster: 1, 2, 4 or 8
//   THREADS    threads per block
//   ROWS       rows of the batch per cluster
//   FORWARD_LANES, BACKWARD_LANES    over how many lanes of a warp a sum is split, without TENSOR
//   BFLOAT16   whether sequences and states are stored as bfloat16; all else is float32
//   TENSOR     whether products run on the tensor cores, with bfloat16 operands and float32 sums
//   BACKWARD   which of the two passes
//   RESET_AFTER    whether the reset gate comes after the product
//   BATCH_MAJOR    whether arrays described as [T, B, ...] are stored as [B, T, ...]
//   KEEP_GATES     whether the forward pass also returns the gates
//   HAS_RESTART, HAS_DROPOUT_MASK, HAS_ZONEOUT_RATE, HAS_VALID    which of these operands are
//       present; `StepMasks` in grujax/implementations/types.py defines them
//   KEPT_UNITS     entries of `kept` for each row of a step: 0 if it is absent, 1 or HIDDEN
//
// The derivation of the gradient is in grujax/implementations/scan/rules.py.

#if BACKWARD
#include "backward.cuh"
#else
#include "forward.cuh"
#endif
