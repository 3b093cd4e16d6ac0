"""Speech recognition: GRUs trained with CTC on strings of spoken digits, offline and streaming."""
