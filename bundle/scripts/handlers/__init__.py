"""Handlers for what MONAI's own do not do: tables, panels, watches, the batch that went wrong, a record, signals."""

from scripts.handlers.average import RunningAverage
from scripts.handlers.collapse import CollapseWatch
from scripts.handlers.instance_score import InstanceScores
from scripts.handlers.loss_table import LossTable, TermProgressBar
from scripts.handlers.offending_batch import OffendingBatch
from scripts.handlers.panel import CyclePanels
from scripts.handlers.polarity import PolarityWatch, correlation
from scripts.handlers.run_lock import RunLock
from scripts.handlers.run_record import RunRecord
from scripts.handlers.statistic import checkerboard, lost_share, training_statistics
from scripts.handlers.stop import SignalStop
from scripts.handlers.tensorboard import TensorBoardLog
from scripts.handlers.tracking import mlflow_log
from scripts.handlers.validation import Validation, validator
from scripts.trainer import PlainErrors

__all__ = [
    "CollapseWatch",
    "CyclePanels",
    "InstanceScores",
    "LossTable",
    "OffendingBatch",
    "PlainErrors",
    "PolarityWatch",
    "RunLock",
    "RunRecord",
    "RunningAverage",
    "SignalStop",
    "TensorBoardLog",
    "TermProgressBar",
    "Validation",
    "checkerboard",
    "correlation",
    "lost_share",
    "mlflow_log",
    "training_statistics",
    "validator",
]
