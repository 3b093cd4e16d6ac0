"""Moving digits: a GRU names digit, direction and speed, and predicts the next video frames."""
