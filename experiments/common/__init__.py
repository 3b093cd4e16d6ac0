"""Code that three or more experiments share: training loop, data, reports, command line."""
