"""The server's application: MONAI Label's own behind our guard, which answers bad input with its message.

Started by `scripts.label_server.command`, in the environment of MONAI Label.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from monailabel.app import app as server
from monailabel.config import settings
from monailabel.interfaces.utils.app import app_instance
from monailabel.tasks.infer.bundle import BundleInferTask
from scripts.command.start import expected_error
from scripts.label_server.access import ACCESS, Access
from scripts.label_server.folder import MODEL
from scripts.label_server.guard import Guard
from scripts.label_server.route import routes
from scripts.label_server.task import SERVED, PlannedTask, Served

__all__ = ["Studies", "answer", "app"]

logger = logging.getLogger(__name__)
_started = server.router.lifespan_context


class Studies:
    """The images and sessions that MONAI Label knows at the time it is asked."""

    def images(self) -> Collection[str]:
        """Return the ids of all images."""
        ids: list[str] = app_instance().datastore().list_images()
        return ids

    def has_session(self, session: str) -> bool:
        """Whether a client uploaded an image under this id."""
        sessions = app_instance().sessions()
        return sessions is not None and sessions.get_session(session) is not None


@server.exception_handler(ValueError)
@server.exception_handler(RuntimeError)  # what MONAI makes of errors within a config
async def answer(request: Request, error: Exception) -> JSONResponse:
    """Return status 400 and the message of an error of ours; all others stay what they are."""
    if (expected := expected_error(error)) is None:
        raise error
    logger.error("%s", expected)
    return JSONResponse({"detail": str(expected)}, status_code=400)


@asynccontextmanager
async def _lifespan(application: Any) -> AsyncIterator[Any]:
    """Start MONAI Label, which makes its tasks, and put our task before its own, which reads a configuration once."""
    async with _started(application) as state:
        _serve_plans()
        yield state


def _serve_plans() -> None:
    folder = Path(settings.MONAI_LABEL_APP_DIR) / "model" / MODEL
    instance = app_instance()
    make = partial(BundleInferTask, str(folder), instance.conf)
    served = Served.from_text(os.environ[SERVED])
    instance._infers[MODEL] = PlannedTask(instance._infers[MODEL], make, folder, served)


def _options() -> dict[str, Any]:
    """Return the bundle's options for clients, with their values."""
    config = Path(settings.MONAI_LABEL_APP_DIR) / "model" / MODEL / "configs" / "inference.json"
    options: dict[str, Any] = json.loads(config.read_text()).get("displayable_configs", {})
    return options


server.router.lifespan_context = _lifespan
app = Guard(server, Access.from_text(os.environ[ACCESS]), routes(MODEL, _options(), Studies()))
"""What uvicorn serves."""
