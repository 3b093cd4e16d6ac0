"""The first program to read: a GRU that reads sentences, with its training loop in sight."""
