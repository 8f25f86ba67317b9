"""Handlers for what MONAI's own do not do: loss table, image panels, a watch on swapped classes, scores, a record."""

from scripts.handlers.instance_score import InstanceScores
from scripts.handlers.loss_table import LossTable, TermProgressBar
from scripts.handlers.panel import CyclePanels
from scripts.handlers.polarity import PolarityWatch, correlation
from scripts.handlers.run_record import RunRecord
from scripts.handlers.table import write_table, write_text
from scripts.handlers.tracking import mlflow_log

__all__ = [
    "CyclePanels",
    "InstanceScores",
    "LossTable",
    "PolarityWatch",
    "RunRecord",
    "TermProgressBar",
    "correlation",
    "mlflow_log",
    "write_table",
    "write_text",
]
