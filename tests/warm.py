"""Commands that tests start, in a Python that has imported torch and MONAI already: importing takes most of their time.

A server imports both when the first command asks for it, and forks for each command. The fork does what
`python -m module`, `python -c code` or `python file` does in a new interpreter: it has the command's working folder,
environment, streams, arguments and exit status, and no module of the bundle. Tests use `subprocess` as ever, because
conftest.py replaces its `Popen` by the one here. `with cold():` starts a new Python, and pytest's option --cold always.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import inspect
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

ADDRESS = "TESTS_WARM_PYTHON"  # in the environment: the server's socket
GIVEN = list(inspect.signature(subprocess.Popen._execute_child).parameters)[1:]
PIPES = ["p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite"]
UNUSUAL = ["executable", "preexec_fn", "pass_fds", "shell", "gid", "gids", "uid"]


@contextlib.contextmanager
def cold() -> Iterator[None]:
    """Start commands in a new Python meanwhile."""
    address = os.environ.pop(ADDRESS, None)
    try:
        yield
    finally:
        if address is not None:
            os.environ[ADDRESS] = address


def arguments_of(command: Any) -> list[str] | None:
    """What follows `python`, or `python -u`; None for anything but -m, -c, or a file."""
    words = [] if isinstance(command, str | bytes | os.PathLike) else [os.fspath(word) for word in command]
    if words[:1] != [sys.executable]:
        return None
    if words[1:2] == ["-u"]:
        del words[1]
    is_known = len(words) > 1 and (words[1].endswith(".py") or (words[1] in ("-m", "-c") and len(words) > 2))
    return words[1:] if is_known else None


class Popen(subprocess.Popen):
    """A command that the server runs where it can, else a new process."""

    _connection: socket.socket | None = None

    def _execute_child(self, *given: Any) -> None:
        asked = dict(zip(GIVEN, given, strict=True))
        arguments = arguments_of(asked["args"])
        environment = {**(os.environ if asked["env"] is None else asked["env"])}
        is_unusual = any(asked[name] for name in UNUSUAL) or environment.get("PYTHONWARNINGS", "ignore") != "ignore"
        if ADDRESS not in os.environ or arguments is None or is_unusual:
            return super()._execute_child(*given)
        command = {"arguments": arguments, "cwd": os.path.abspath(asked["cwd"] or "."), "environment": environment}
        command |= {"session": asked["start_new_session"]}
        try:
            self._connection = socket.socket(socket.AF_UNIX)
            self._connection.connect(os.environ[ADDRESS])
            streams = [asked[name] for name in ("p2cread", "c2pwrite", "errwrite")]
            text = json.dumps(command).encode()
            fds = [number if fd == -1 else fd for number, fd in enumerate(streams)]
            socket.send_fds(self._connection, [len(text).to_bytes(8)], fds)
            self._connection.sendall(text)
            self.pid = int.from_bytes(received(self._connection, 8))
            self._child_created = True
        finally:
            self._close_pipe_fds(*(asked[name] for name in PIPES))

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._connection is None:
            return super()._try_wait(wait_flags)
        if wait_flags & os.WNOHANG and not select.select([self._connection], [], [], 0)[0]:
            return 0, 0
        status = int.from_bytes(received(self._connection, 8))
        self._connection.close()
        return self.pid, status

    def _internal_poll(self, *given: Any, **more: Any) -> int | None:
        if self._connection is None:
            return super()._internal_poll(*given, **more)
        if self.returncode is None and self._waitpid_lock.acquire(False):  # else a wait that a signal interrupts has it
            try:
                if self.returncode is None and (found := self._try_wait(os.WNOHANG))[0]:
                    self._handle_exitstatus(found[1])
            finally:
                self._waitpid_lock.release()
        return self.returncode


def received(connection: socket.socket, size: int) -> bytes:
    """Read so many bytes from a connection."""
    data = b""
    while len(data) < size:
        data += (part := connection.recv(size - len(data)))
        if not part:
            raise ConnectionError("the other end is gone")
    return data


@contextlib.contextmanager
def server() -> Iterator[None]:
    """Run a server. This process and those that it starts find its socket in the environment."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}
    with tempfile.TemporaryDirectory(prefix="warm") as folder:
        address = f"{folder}/socket"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", ADDRESS: address}
        environment.pop("PYTHONPATH", None)
        code = f"import sys; sys.path[0] = {str(Path(__file__).parent)!r}; import warm; warm.serve({address!r})"
        with subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes) as process:
            process.stdout.readline()
            os.environ[ADDRESS] = address
            yield
            del os.environ[ADDRESS]  # the server ends with its standard input, which is closed now


# ---- in the server ---------------------------------------------------------------------------------------------------
def serve(address: str) -> None:
    """Fork for each connection until the standard input ends, then end all that was started."""
    sys.path[0] = ""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    print("ready", flush=True)
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection = listener.accept()[0]
        if "monai" not in sys.modules:
            subprocess.Popen = Popen  # for commands that start others, before torch imports it
            import monai.bundle  # noqa: F401

            gc.freeze()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if os.fork() == 0:
            listener.close()
            supervise(connection)
        connection.close()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)


def supervise(connection: socket.socket) -> NoReturn:
    """Start the command that a connection asks for, and report its number and its status."""
    size, streams, *_ = socket.recv_fds(connection, 8, 3)
    command = json.loads(received(connection, int.from_bytes(size)))
    if (child := os.fork()) == 0:
        for number, fd in enumerate(streams):
            os.dup2(fd, number)
        os.closerange(3, 1024)
        run(command)
    for fd in (0, *streams):
        os.close(fd)
    with contextlib.suppress(OSError):  # whoever asked for it may have ended
        connection.sendall(child.to_bytes(8))
        connection.sendall(os.waitpid(child, 0)[1].to_bytes(8))
    os._exit(0)


def run(command: dict[str, Any]) -> NoReturn:
    """Be a new Python with such arguments, until it ends."""
    become(command)
    status: Any = 0
    try:
        match command["arguments"]:
            case ["-m", module, *_]:
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            case ["-c", code, *_]:
                exec(compile(code, "<string>", "exec"), vars(sys.modules["__main__"]))
            case [file, *_]:
                runpy.run_path(file, run_name="__main__")
    except SystemExit as ended:
        status = ended.code
    except BaseException as error:
        status = error if isinstance(error, KeyboardInterrupt) else 1
        sys.excepthook(type(error), error, error.__traceback__)
    end(status)


def become(command: dict[str, Any]) -> None:
    """Take over what a new process is given."""
    if command["session"]:
        os.setsid()
    os.chdir(command["cwd"])
    os.environ.clear()
    os.environ.update(command["environment"])
    sys.stdin, sys.stdout = sys.__stdin__, sys.__stdout__ = open(0), open(1, "w")  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace")  # noqa: SIM115
    arguments = command["arguments"]
    sys.orig_argv = [sys.executable, *arguments]
    sys.argv = arguments[:1] + arguments[2:] if arguments[0] in ("-m", "-c") else arguments
    folder = {"-m": command["cwd"], "-c": ""}.get(arguments[0], os.path.dirname(os.path.abspath(arguments[0])))
    sys.path[:1] = [folder, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    main = vars(sys.modules["__main__"])
    for name in [name for name in main if not name.startswith("__")]:
        del main[name]
    if os.environ.get("PYTHONWARNINGS") == "ignore":
        warnings.simplefilter("ignore")
    sys.modules["numpy"].random.seed()  # the server's state is that of all
    sys.modules["torch"].set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))


def end(status: Any) -> NoReturn:
    """End as Python does: its threads first, then what was registered for its end."""
    if isinstance(status, str):
        print(status, file=sys.stderr)
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if isinstance(status, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit((status if isinstance(status, int) else int(status is not None)) & 0xFF)
