"""For experiments on long-term memory: the adding problem, training tricks, gradient flow."""
