"""How several processes find each other before JAX connects them, and notice that one has ended.

JAX's own runtime waits for a missing process until it aborts with a stack of C++, takes two
processes of one number for a restarted one, and listens on all interfaces. So process 0 first
listens here, at the coordinator's address alone, until every other process has said its number;
what is wrong is told to all as a sentence. Then it leaves the port to JAX. The connections stay
open, so that the others notice at once when a process ends without a goodbye.

Messages are lines of JSON. Connections that say anything else are closed.

connections  addresses, and what is sent
meeting      until all processes have come
watch        until one has ended
"""

from experiments.common.training.rendezvous.connections import (
    GRACE_SECONDS,
    Address,
    Connection,
    LostProcessError,
    ScaleError,
    resolve,
)
from experiments.common.training.rendezvous.meeting import Meeting, meet
from experiments.common.training.rendezvous.watch import Watch, end_with

__all__ = [
    "GRACE_SECONDS",
    "Address",
    "Connection",
    "LostProcessError",
    "Meeting",
    "ScaleError",
    "Watch",
    "end_with",
    "meet",
    "resolve",
]
