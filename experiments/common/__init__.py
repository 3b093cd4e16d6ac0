"""What three experiments or more use: the Optax loop, data, reports, the command line."""
