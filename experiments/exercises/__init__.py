"""Exercise recognition from a wrist sensor: a bidirectional GRU on 140 real recordings."""
