"""Worker processes: what they do first, how they end with what started them, what is said when one fails.

Only the standard library is imported here, since `scripts.command.start` needs the messages.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import multiprocessing.queues
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

__all__ = [
    "SHARED_MEMORY_FULL",
    "STARTED",
    "WorkerStart",
    "bad_input_in",
    "defect_in_worker",
    "end_with_parent",
    "end_with_starter",
    "said_by_worker",
    "shared_memory_is_full",
]

SHARED_MEMORY_FULL = (
    "shared memory is full: data-loader workers hand over batches through /dev/shm. Give --num_workers 0 or a larger "
    "--shm-size (docker run), or free /dev/shm."
)
STARTED = "CYSGAN_STARTED"
"""Variable of the environment of a command that another one of ours has started."""
_FULL = 74  # exit status of a worker that finds no room for a batch (EX_IOERR)
_ENDED = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal|exited unexpectedly)")
_KILLED = re.compile(r"is killed by signal: ([\w ]+)")
_CAUGHT = re.compile(r"Caught \w+ in DataLoader worker process \d+\.\s+Original (.*)", re.DOTALL)
_OURS = re.compile(
    r"^(?:\w+\.)*scripts\.\w+\.(?:InputError|NonFiniteLossError): (.+?)(?=\n\n|\n\S+Error|\Z)", re.M | re.S
)


class WorkerStart:
    """What a worker of the training's data loader does first.

    It leaves Ctrl-C and SIGTERM to the process that started it. Those reach all processes of a terminal or of a job,
    and the training needs its workers to finish its iteration. `scripts.dataset.TrainingLoader` ends them, since
    the SIGTERM by which multiprocessing ends them is ignored too.

    A batch that cannot be handed over ends the worker. Python would print the error, drop the batch, and leave the
    training to wait for it for ever.

    Args:
        ends_by_sigterm: leave Ctrl-C alone to the process that started it, as for a loader that nothing else ends.
    """

    def __init__(self, ends_by_sigterm: bool = False) -> None:
        self.ignored = (signal.SIGINT,) if ends_by_sigterm else (signal.SIGINT, signal.SIGTERM)

    def __call__(self, worker: int) -> None:
        """Set both in the worker of this number."""
        for number in self.ignored:
            signal.signal(number, signal.SIG_IGN)
        if hasattr(signal, "SIGBUS"):  # memory that /dev/shm has no room for; torch's own handler prints lines
            signal.signal(signal.SIGBUS, signal.SIG_DFL)
        multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_give_up)  # type: ignore[attr-defined]


def end_with_parent() -> None:
    """Let this process, one that multiprocessing started, end as soon as that which started it does, by a kill too.

    A worker that waits for work holds both ends of the queue, and so would wait for ever.
    """
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def end_with_starter() -> None:
    """Let this command end as soon as the one of ours that started it does, by a kill too.

    Nothing happens in a command that somebody typed. The standard input of one that was started ends when its starter
    does: it is read in a thread.
    """
    if os.environ.pop(STARTED, None) is None:
        return

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1024):
                pass
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def defect_in_worker(details: str, worker: str = "a worker") -> str:
    """Return the line for a traceback from a worker, which goes to a file that the line names."""
    first = re.split(r"\n\n(?:The above exception|During handling)", details)[0]  # MONAI raises its own from it
    last = [line for line in first.splitlines() if line.strip('" ') and not line[0].isspace()][-1]
    return f"{last.rstrip('.')}, in {worker}. {_kept(details)}"


def said_by_worker(error: BaseException) -> str | None:
    """Return the line for an exception that came from a data loader's worker, None for any other.

    Bad input has its own message. The traceback of any other exception goes to a file, which the line names.
    """
    text = f"{error}\n{error.__cause__ or ''}"
    if found := _CAUGHT.search(text):
        return _said_by_exception(found[1])
    if (worker := _ENDED.search(text)) is None:
        return None
    killed = _KILLED.search(text)
    if f"exit code {_FULL}" in text or (killed and killed[1] == "Bus error"):
        return SHARED_MEMORY_FULL
    return (
        f"data-loader worker {worker[1]} {f'was killed ({killed[1]})' if killed else 'ended unexpectedly'}; memory may "
        "have run out. Checkpoints are whole: give the same command again, a training with --resume true, and with "
        "fewer --num_workers if memory is short."
    )


def shared_memory_is_full(error: BaseException) -> bool:
    """Whether an error says that /dev/shm, and no other place, has no room left."""
    if isinstance(error, OSError) and (error.errno != errno.ENOSPC or error.filename is not None):
        return False
    text = str(error)
    if "torch_" in text and "No space left" in text:
        return True
    return isinstance(error, OSError) and os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free < 2**16


def bad_input_in(text: str) -> str | None:
    """Return the message of an error of ours from the text of a traceback, None where there is none."""
    ours = _OURS.findall(text)
    return " ".join(ours[-1].split()) if ours else None


def _said_by_exception(details: str) -> str:
    if (message := bad_input_in(details)) is not None:
        return message
    if "torch_" in details and "No space left" in details:
        return SHARED_MEMORY_FULL
    return defect_in_worker(details, "a data-loader worker")


def _kept(details: str) -> str:
    """Where a traceback was written."""
    path = Path(tempfile.gettempdir()) / f"worker_of_{os.getpid()}.txt"
    try:
        path.write_text(details)
    except OSError:
        return "Give --num_workers 0 (block by block: --workers 1) to see where."
    return f"Details: {path}"


def _give_up(error: BaseException, batch: Any) -> None:
    """End this worker: called in the thread that hands a batch over, when that fails."""
    if shared_memory_is_full(error):
        os._exit(_FULL)
    print(
        f"a data-loader worker cannot hand over a batch: {type(error).__name__}: {error}", file=sys.stderr, flush=True
    )
    os._exit(1)
