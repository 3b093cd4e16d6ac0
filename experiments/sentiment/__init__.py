"""Sentiment of real sentences in three classes: a bidirectional GRU with attention."""
