"""The GRU on a GPU, compared with a scan, Flax and cuDNN: `python -m experiments.benchmark --gpu`.

`checks.py` compares the kernel with float64, `programs.py` compiles what is timed, `timing.py`
measures what the device can do at best, `compare.py` times everything and writes the report.
"""

from experiments.benchmark.gpu.compare import report_gpu

__all__ = ["report_gpu"]
