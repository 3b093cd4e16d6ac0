"""Gradient flow in words."""

import numpy as np

from experiments.memory.gradient_flow import describe_flow


def test_flow_is_described_by_geometric_means():
    assert describe_flow(np.array([1e-14, 1e-12]), np.array([0.1, 1.6])) == "1e-13 → 0.4"
    assert describe_flow(np.array([0.0, 0.0]), np.array([np.nan, 1.0])) == "<1e-37 → overflow"
