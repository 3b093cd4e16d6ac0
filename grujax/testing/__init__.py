"""Tests for the programs of users: does a recurrent network see in training what it saw in acting?

`check_replay` runs a network step by step, as an actor does, and compares the outputs with those of
a replay over whole sequences. If they differ, it names the fault.
"""

from grujax.testing.replay import check_replay
from grujax.testing.rollout import Rollout

__all__ = ["Rollout", "check_replay"]
