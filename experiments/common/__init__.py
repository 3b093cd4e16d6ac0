"""What the experiments share: data, text, the training loop, checkpoints, metrics, plots."""
