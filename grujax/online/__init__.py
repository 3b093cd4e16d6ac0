"""Learning online: gradients without a backward pass through time.

A method carries how the parameters influence the state, forward with the state itself. So the
gradient is there at every step, and no past step is kept.

    method     three functions: init, step, gradient
    rtrl       real-time recurrent learning: exact
    snap       the sparse n-step approximation: the units that a parameter reaches soon
    eprop      eligibility propagation: what stays within a unit
    uoro       unbiased online recurrent optimization: of rank one, right on average
    sequence   the gradient of a whole sequence, by any of them
    gru        the closed form of the GRU
    rows       the state of each row as a vector, and the derivatives of a step
    pattern    which units each parameter influences; `sparse` carries an influence on it
    products   a step whose state does not reach matrix products
"""

from grujax.online.eprop import eprop
from grujax.online.method import Carry, Method, reset
from grujax.online.rtrl import rtrl
from grujax.online.sequence import gradient, value_and_gradient
from grujax.online.snap import snap
from grujax.online.uoro import uoro

__all__ = [
    "Carry",
    "Method",
    "eprop",
    "gradient",
    "reset",
    "rtrl",
    "snap",
    "uoro",
    "value_and_gradient",
]
