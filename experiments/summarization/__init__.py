"""Summarization: GRUs that write and copy turn a package description into one line."""
