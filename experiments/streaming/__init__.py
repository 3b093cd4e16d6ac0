"""Where recurrence wins: the cost of one step of a stream, at equal quality."""
