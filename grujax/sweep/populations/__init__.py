"""Trainings that are compared while they run.

`training` has population-based training, and `halving` successive halving. Both use `search`, which
runs rounds one after the other; `programs`, which compiles how members start and what happens in a
round; and `state`, which holds a population and its history, in memory and on disk.
"""
