"""Experiments: scripts that a person reads top to bottom, run as `python -m experiments.NAME`."""

import sys

from experiments.common.interrupts import be_quiet

# Python imports this file before anything else of a command. While `python -m` imports the packages
# of a module, the name of the program is "-m"; another program that imports this keeps its Ctrl-C.
if sys.argv[:1] == ["-m"]:
    be_quiet()
