"""What a GRU is compared with wherever a sequence is read, and the comparison itself."""
