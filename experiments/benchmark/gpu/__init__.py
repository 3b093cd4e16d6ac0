"""The GRU on a GPU, compared with cuDNN and `lax.scan`: `python -m experiments.benchmark --gpu`.

`compare.py` is the plan: its steps and their order. `steps.py` runs them and keeps their results.
`checks.py` compares with float64, `programs.py` has the programs that `timing.py` times and
`memory.py` weighs. `claims.py` lists what the documentation says, `verdicts.py` judges it, and
`report.py` writes it all down.
"""

from experiments.benchmark.gpu.compare import report_gpu

__all__ = ["report_gpu"]
