"""What training writes: everything that it needs to resume, and the weights that inference wants."""

from scripts.checkpoint.random_state import RandomState
from scripts.checkpoint.settings import file_states
from scripts.checkpoint.training import TrainingCheckpoint, is_auto, list_checkpoints
from scripts.checkpoint.weights import (
    WeightsLoader,
    WeightsSaver,
    load_weights,
    noted_state,
    save_atomically,
    started_from,
)

__all__ = [
    "RandomState",
    "TrainingCheckpoint",
    "WeightsLoader",
    "WeightsSaver",
    "file_states",
    "is_auto",
    "list_checkpoints",
    "load_weights",
    "noted_state",
    "save_atomically",
    "started_from",
]
