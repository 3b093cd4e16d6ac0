"""What the experiments on images and video share: the handwritten digits."""
