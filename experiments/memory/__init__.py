"""What the experiments on long memory share: the adding problem, tricks against vanishing."""
