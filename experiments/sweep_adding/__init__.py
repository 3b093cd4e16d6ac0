"""How long can an RNN, an LSTM and a GRU remember? The adding problem, swept over T."""
