"""An exception that ends an engine is not logged: who started the command prints it, once."""

from __future__ import annotations

import logging

from ignite.engine import Engine, Events

__all__ = ["PlainErrors"]


class PlainErrors:
    """Lets an exception pass through an engine as it is. Attach it before all others.

    ignite logs it twice, with its traceback where it comes from a worker, and MONAI's StatsHandler logs the traceback
    once more. The exception itself reaches the caller, and `scripts.command.start` prints one line for it.
    """

    def attach(self, engine: Engine) -> None:
        """Handle the exceptions of every run of `engine`."""
        engine.logger.addFilter(_is_news)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self)

    def __call__(self, engine: Engine, error: BaseException) -> None:
        """Raise it: of several handlers ignite lets the first one raise."""
        raise error


def _is_news(record: logging.LogRecord) -> bool:
    return "run is terminating due to exception" not in str(record.msg)
