"""The server's application: MONAI Label's own, which answers bad input with its message instead of a bare 500.

Started by `scripts.label_server.command`, in the environment of MONAI Label.
"""

from __future__ import annotations

import logging

from fastapi import Request
from fastapi.responses import JSONResponse
from monailabel.app import app

from scripts.preflight import expected_error

__all__ = ["answer", "app"]

logger = logging.getLogger(__name__)


@app.exception_handler(ValueError)
@app.exception_handler(RuntimeError)  # what MONAI makes of errors within a config
async def answer(request: Request, error: Exception) -> JSONResponse:
    """Return status 400 and the message of an error of ours; all others stay what they are."""
    if (expected := expected_error(error)) is None:
        raise error
    logger.error("%s", expected)
    return JSONResponse({"detail": str(expected)}, status_code=400)
