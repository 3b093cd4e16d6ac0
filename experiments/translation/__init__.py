"""Translation: a bidirectional GRU encoder, a GRU decoder with additive attention, beam search."""
