"""Text generation: GRU, LSTM and RNN as language models of characters."""
