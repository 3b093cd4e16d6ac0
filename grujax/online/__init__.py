"""Learning online: gradients without a backward pass through time.

A method carries how the parameters influence the state, forward with the state itself. So the
gradient is there at every step, and no past step is kept.

    method   three functions: init, step, gradient
    rtrl     real-time recurrent learning, exact
"""

from grujax.online.method import Carry, Method, reset
from grujax.online.rtrl import rtrl
from grujax.online.sequence import gradient, value_and_gradient

__all__ = ["Carry", "Method", "gradient", "reset", "rtrl", "value_and_gradient"]
