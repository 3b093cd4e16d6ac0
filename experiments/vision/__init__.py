"""What `images` and `video` share: the handwritten digits, and affine maps of images."""
