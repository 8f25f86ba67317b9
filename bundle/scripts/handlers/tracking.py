"""MLflow, by MONAI's handler: what has to be seen to before it."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from monai.handlers import MLFlowHandler
from scripts.errors import InputError

__all__ = ["MLflowLog", "mlflow_log"]

_NEEDED = ("mlflow", "sqlalchemy", "alembic")
_SQLITE = "sqlite:///"


class MLflowLog(MLFlowHandler):
    """MONAI's handler, which knows one optimiser; this one logs learning_rate/<optimiser> of every one of a trainer."""

    def iteration_completed(self, engine: Any) -> None:
        """Log what the iteration gave, and the rates of the next."""
        super().iteration_completed(engine)
        optimizers = getattr(engine, "optimizers", {})
        rates = {f"learning_rate/{name}": each.param_groups[0]["lr"] for name, each in optimizers.items()}
        self._log_metrics(rates, step=engine.state.iteration)


def mlflow_log(tracking_uri: str, **options: Any) -> MLflowLog:
    """Make MONAI's MLflow handler.

    The folder of a SQLite file is made. MLflow's own reports on its use, which it sends to its makers, are switched off
    unless the variable MLFLOW_DISABLE_TELEMETRY says false.

    Args:
        tracking_uri: sqlite:///… or the address of a server; the variable MLFLOW_TRACKING_URI goes before it.
        **options: of `monai.handlers.MLFlowHandler`.

    Raises:
        InputError: MLflow, or what it needs to write SQLite, is not installed; or it refuses the address.
    """
    needed = _NEEDED if _SQLITE in os.environ.get("MLFLOW_TRACKING_URI", tracking_uri) else _NEEDED[:1]
    if missing := [name for name in needed if find_spec(name) is None]:
        raise InputError(
            f"mlflow.yaml needs packages that are not installed: {', '.join(missing)}. Install the extra `mlflow`: "
            "pip install mlflow-skinny sqlalchemy alembic; or leave the overlay out."
        )
    _be_silent()
    if tracking_uri.startswith(_SQLITE):
        Path(tracking_uri.removeprefix(_SQLITE)).parent.mkdir(parents=True, exist_ok=True)
    try:
        return MLflowLog(tracking_uri=tracking_uri, optimizer_param_names=(), **options)
    except ValueError as error:  # MlflowException is one
        raise InputError(f"tracking_uri: MLflow refuses {tracking_uri}: {error}") from error


def _be_silent() -> None:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.telemetry import set_telemetry_client

    set_telemetry_client()  # MONAI imported MLflow before: it has to look at the variable again
