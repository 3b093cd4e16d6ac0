"""Loggers: where the trials of a sweep are recorded, such as TensorBoard or a CSV file.

`logger` is the class that all of them derive from, `choice` finds them by name, `recorders` sends
them each step once, and `trials` makes runs of trials. The other files have one logger each.
"""

from grujax.sweep.loggers.choice import NAMES, choose_loggers
from grujax.sweep.loggers.csv import CSVLogger
from grujax.sweep.loggers.json_lines import JSONLinesLogger
from grujax.sweep.loggers.logger import Logger
from grujax.sweep.loggers.mlflow import MLflowLogger
from grujax.sweep.loggers.recorders import Recorders
from grujax.sweep.loggers.tensorboard import TensorBoardLogger
from grujax.sweep.loggers.trials import TrialLog, check_log, open_log
from grujax.sweep.loggers.wandb import WandbLogger

__all__ = [
    "NAMES",
    "CSVLogger",
    "JSONLinesLogger",
    "Logger",
    "MLflowLogger",
    "Recorders",
    "TensorBoardLogger",
    "TrialLog",
    "WandbLogger",
    "check_log",
    "choose_loggers",
    "open_log",
]
