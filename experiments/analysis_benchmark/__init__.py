"""Times the two slowest analyses, compiled, at sizes that are common in research."""
