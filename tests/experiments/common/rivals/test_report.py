"""The report of a comparison: who leads, by how much, and whether that is certain."""

import numpy as np
import pytest
from scipy import stats

from experiments.common.report.intervals import interval
from experiments.common.rivals.report import Figure, Lead, Row, describe, describe_lead, find_lead

ACCURACY = Figure("% right", 1, scale=100)
BITS = Figure("bits", 3, lower_is_better=True)
ONE = np.array([0.90, 0.92, 0.94])
OTHER = np.array([0.80, 0.87, 0.88, 0.81])


def welch(one: np.ndarray, other: np.ndarray) -> float:
    """Half of the 95% interval of the difference of means, by the formula."""
    parts = [values.var(ddof=1) / len(values) for values in (one, other)]
    squares = [part**2 / (len(v) - 1) for part, v in zip(parts, (one, other), strict=True)]
    freedom = sum(parts) ** 2 / sum(squares)
    return stats.t.ppf(0.975, freedom) * sum(parts) ** 0.5


def test_the_interval_of_a_mean_is_students():
    low, high = stats.t.interval(0.95, len(ONE) - 1, ONE.mean(), stats.sem(ONE))
    assert interval(ONE) == pytest.approx((high - low) / 2)


@pytest.mark.parametrize("shown", [ACCURACY, BITS])
def test_the_lead_is_welchs(shown):
    cells = {"lstm": OTHER, "gru": ONE, "rnn": np.array([0.5, 0.5, 0.6])}
    if shown.lower_is_better:
        cells = {cell: 2 - values for cell, values in cells.items()}
    lead = find_lead(cells, shown)
    assert (lead.first, lead.second) == ("gru", "lstm")
    assert lead.difference == pytest.approx(shown.scale * (ONE.mean() - OTHER.mean()))
    assert lead.interval == pytest.approx(shown.scale * welch(ONE, OTHER))
    assert lead.is_certain


def test_a_lead_is_certain_if_its_interval_excludes_zero():
    close = {"gru": ONE, "lstm": ONE - 0.01}
    lead = find_lead(close, ACCURACY)
    assert lead.difference == pytest.approx(1)
    assert not lead.is_certain
    assert describe_lead(lead, ACCURACY) == (
        "% right: no certain winner; GRU is first, LSTM second."
    )
    alone = find_lead({"gru": ONE[:1], "lstm": OTHER[:1]}, ACCURACY)
    assert not alone.is_certain  # one seed each
    certain = Lead("transformer", "min_gru", 7.04, 1.5)
    want = "% right: Transformer is first, 7.0 ±1.5 from minGRU."
    assert describe_lead(certain, ACCURACY) == want


def test_the_table_has_means_and_intervals():
    row = Row({"accuracy": ONE}, 1234, 0.003, {0.003: 0.9}, seconds=12.4, step_seconds=5.4e-5)
    other = row._replace(step_seconds=None)
    table = describe({"gru": row, "min_gru": other}, {"accuracy": ACCURACY}).splitlines()
    cells = [line.split() for line in table]
    assert " ".join(cells[0]) == "% right parameters learning rate training, s step, µs"
    half = f"±{100 * interval(ONE):.1f}"
    assert ["GRU", "92.0", half, "1,234", "0.003", "12", "54"] in cells
    assert ["minGRU", "92.0", half, "1,234", "0.003", "12"] in cells
