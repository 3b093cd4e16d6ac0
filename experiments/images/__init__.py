"""Images as sequences: digits classified by rows, by pixels, and by sweeps in four directions."""
