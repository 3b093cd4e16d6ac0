"""Reports: tables of results, plots, timing."""

from experiments.common.report.tables import (
    Answers,
    comparison_table,
    confusion,
    describe_answer,
    format_table,
    mean_and_deviation,
    write_report,
)

__all__ = [
    "Answers",
    "comparison_table",
    "confusion",
    "describe_answer",
    "format_table",
    "mean_and_deviation",
    "write_report",
]
