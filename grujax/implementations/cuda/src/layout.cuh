// Constants derived from the layout.
#pragma once

constexpr int UNITS_PER_BLOCK = HIDDEN / CLUSTER;
constexpr int UNITS_PER_WARP = UNITS_PER_BLOCK * 32 / THREADS;
constexpr int PREFETCH_STEPS = 4;  // how far ahead inputs are prefetched into the L2 cache
constexpr int MESSAGES_PER_STEP = RESET_AFTER ? 1 : 2;  // products, hence exchanges
