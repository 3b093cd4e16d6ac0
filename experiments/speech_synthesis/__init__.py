"""Speech synthesis: a GRU learns to speak strings of digits like a teacher, espeak-ng."""
