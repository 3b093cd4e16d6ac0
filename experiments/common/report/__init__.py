"""Reports: tables of results, plots, timing."""

from experiments.common.report.tables import format_table, mean_and_deviation

__all__ = ["format_table", "mean_and_deviation"]
