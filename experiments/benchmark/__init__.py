"""The GRU compared with other libraries, other cells, and other ways to run it.

`compare.py` is the command. It compares libraries (`peers/`) on a `grid.py` of settings;
`measurements.py`, `report.py` and `plots.py` belong to that. Its other modes compare cells
(`cells.py`), first calls (`first_call.py`), many models at once (`many_models/`), a GRU in
blocks (`blocks.py`), reinforcement learning (`rl.py`) and GPU programs (`gpu/`); `newton.py`
compares Newton's method with sequential implementations.
"""
