"""Analyses on several devices."""

from tests.helpers import run_on_eight_devices


def test_analyses_and_rollouts_on_eight_devices():
    run_on_eight_devices("machine/analyses_on_meshes.py")
