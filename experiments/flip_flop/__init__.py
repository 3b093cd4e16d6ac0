"""The 3-bit flip-flop, and the eight memories inside a GRU that has learned it."""
