"""Trainings that are stopped by a signal or a full disk, or killed, and go on: nothing is lost or different."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Events
from matplotlib.figure import Figure
from scripts.checkpoint import TrainingCheckpoint, list_checkpoints, save_atomically
from scripts.command.start import expected_error, plain_errors
from scripts.errors import UNFINISHED, InputError
from scripts.handlers import CyclePanels, SignalStop, TensorBoardLog
from scripts.report.style import save
from scripts.volume_io import read_volume, write_volume
from scripts.volume_io.replacement import replacing, write_table, write_text

from test_checkpoint import run, trainer

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"
# Iterations: 20 in passes of 5, a checkpoint every second one, in the midst of passes as well as between them.
LONG = {"max_iterations": 20, "warm_up_iterations": 6, "epoch_length": 5, "validation_interval": 2, "pool_size": 3}
LONG |= {"translation_noise": 0.1, "train::checkpoint::keep": 20, "device": "$torch.device('cpu')"}
Run = Callable[..., Any]
STOPS = [signal.SIGKILL, signal.SIGTERM, signal.SIGKILL]


def differences(first: Any, second: Any, name: str = "") -> list[str]:
    """Where two checkpoints differ in a bit."""
    if isinstance(first, dict) and isinstance(second, dict) and list(first) == list(second):
        return [found for key in first for found in differences(first[key], second[key], f"{name}/{key}")]
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        pairs = enumerate(zip(first, second, strict=True))
        return [found for i, pair in pairs for found in differences(*pair, f"{name}/{i}")]
    same = torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second
    return [] if same else [name]


def checkpoint(folder: Path, iteration: int = 20) -> Any:
    return torch.load(folder / f"checkpoint_{iteration:07d}.pt", weights_only=True)


@pytest.fixture(scope="module")
def files(volumes: Path) -> dict[str, Any]:
    return {"image_x": volumes / "imageX_0.tif", "label_x": volumes / "labelX_0.tif", "image_y": volumes / "imageY.tif"}


@pytest.fixture
def train(run_here: Run, files: dict[str, Any]) -> Run:
    def run(out: Path, **overrides: Any) -> Any:
        return run_here(
            "training", "train", **{**files, **LONG, "output_dir": out, "model_path": out / "model.pt", **overrides}
        )

    return run


def started(
    files: dict[str, Any], tiny: Path, out: Path, stderr: int = subprocess.STDOUT, **overrides: Any
) -> subprocess.Popen[str]:
    """A training in a process group of its own, as a terminal makes it; two threads would add in another order."""
    given = {**files, **LONG, "bundle_root": BUNDLE, "output_dir": out, "model_path": out / "model.pt", **overrides}
    configs = [str(BUNDLE / "configs" / "train.yaml"), str(tiny)]
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", str(configs)]
    command += [item for key, value in given.items() for item in (f"--{key}", str(value))]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": stderr, "text": True}
    return subprocess.Popen(command, env=environment, start_new_session=True, **pipes)


def wait_for(files: int, out: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while len(list_checkpoints(out)) < files:
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ---- a training that is cut is the one that was not ------------------------------------------------------------------
@pytest.fixture(scope="module")
def whole(files: dict[str, Any], tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nobody stopped."""
    out = tmp_path_factory.mktemp("whole")
    process = started(files, tiny, out)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said[-3000:]
    return out


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "signals", [STOPS[:2], pytest.param([*STOPS, signal.SIGINT, signal.SIGKILL], marks=pytest.mark.long)]
)
def test_a_training_killed_and_asked_to_stop_over_and_over_is_to_the_bit_the_one_that_was_not(
    signals: list[signal.Signals], whole: Path, files: dict[str, Any], tiny: Path, tmp_path: Path
) -> None:
    """kill -9 at random moments, SIGTERM, Ctrl-C; the same command each time, with a worker."""
    rng = random.Random(0)
    for number in [*signals, None]:
        process = started(files, tiny, tmp_path, resume="auto", num_workers=1)
        if number is not None:
            wait_for(len(list_checkpoints(tmp_path)) + 1, tmp_path, process)
            time.sleep(rng.uniform(0, 0.3))
            os.killpg(process.pid, number)
        said = process.communicate(timeout=300)[0]
        expected = {signal.SIGKILL: -signal.SIGKILL, None: 0}.get(number, UNFINISHED)
        assert process.returncode == expected, said[-3000:]
        if expected == UNFINISHED:
            assert "a checkpoint is written, exit status 75; the same command with --resume true" in said
            assert f"{number.name}: this iteration is finished" in said
            assert "Traceback" not in said
    assert differences(checkpoint(whole), checkpoint(tmp_path)) == []
    assert digest(tmp_path / "model.pt") == digest(whole / "model.pt")


@pytest.mark.long
def test_twenty_iterations_repeat_to_the_hash_of_the_weights(
    whole: Path, files: dict[str, Any], tiny: Path, tmp_path: Path
) -> None:
    process = started(files, tiny, tmp_path, num_workers=2)  # the number of workers makes no difference
    assert process.communicate(timeout=300) and process.returncode == 0
    assert digest(tmp_path / "model.pt") == digest(whole / "model.pt")


def test_a_second_ctrl_c_stops_at_once_and_files_are_whole(files: dict[str, Any], tiny: Path, tmp_path: Path) -> None:
    process = started(files, tiny, tmp_path, num_workers=1)
    wait_for(1, tmp_path, process)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[0]
    assert process.returncode in (-signal.SIGINT, 128 + signal.SIGINT, 1, UNFINISHED), said[-3000:]
    for path in list_checkpoints(tmp_path):
        torch.load(path, weights_only=True)


def test_what_differs_from_the_checkpoint_is_refused_by_name(train: Run, tmp_path: Path, files: dict[str, Any]) -> None:
    short = {"max_iterations": 2, "warm_up_iterations": 1, "epoch_length": 1, "holdout_fraction": 0}
    train(tmp_path, **short)
    longer = {**short, "max_iterations": 3, "resume": True}
    refused: dict[str, Any] = {"learning_rate": 0.5, "loss_weights::cycle_x": 7.0}
    told = {"loss_weights::cycle_x": "loss_weights", "image_y": "volumes", "amp": "amp"}
    cut = tmp_path / "cut.tif"
    write_volume(cut, read_volume(files["image_y"])[0][:24])
    for name, value in {**refused, "image_y": cut, "amp": True}.items():
        with pytest.raises(RuntimeError) as raised:
            train(tmp_path, **longer, **{name: value})
        message = str(expected_error(raised.value))
        assert f"was written with other settings: {told.get(name, name)} was " in message, name
        assert message.count(" was ") == 2
    moved = tmp_path / "moved.tif"
    shutil.copy(files["image_y"], moved)
    allowed = {"image_y": moved, "num_workers": 1, "checkpoint_interval": 1, "panel_interval": 1, "amp": "false"}
    workflow = train(tmp_path, **longer, **allowed)
    assert workflow.parser.get_parsed_content("train::trainer").state.iteration == 3


# ---- checkpoints -----------------------------------------------------------------------------------------------------
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("moments", [8, pytest.param(30, marks=pytest.mark.long)])
def test_a_writer_killed_at_random_moments_leaves_whole_checkpoints(moments: int, tmp_path: Path) -> None:
    rng, inside = random.Random(1), 0
    engine = trainer(width=200_000)
    for moment in range(moments):
        if (child := os.fork()) == 0:  # pragma: no cover
            engine.state.iteration = 1000 * moment
            while True:
                engine.state.iteration += 1
                TrainingCheckpoint(str(tmp_path))(engine)
        deadline = time.monotonic() + 60
        while not (found := list_checkpoints(tmp_path)) or int(found[-1].stem[-7:]) <= 1000 * moment:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        inside += any(tmp_path.glob(".*.pt"))
        found = list_checkpoints(tmp_path)
        for path in found:
            content = torch.load(path, weights_only=True)
            assert content["iteration"] == int(path.stem.rpartition("_")[2])
            assert content["network/g"]["weight"].shape == (1, 200_000)
        resumed = trainer(width=200_000, max_epochs=10**9)
        TrainingCheckpoint(str(tmp_path), resume=True).attach(resumed)
        assert resumed.state.iteration == content["iteration"]
    assert inside >= 1 + moments // 15, "none of the moments was inside a write"


def files_that_are_none(folder: Path) -> None:
    first = trainer()
    TrainingCheckpoint(str(folder), interval=1).attach(first)
    run(first)
    good = list_checkpoints(folder)[-1].read_bytes()
    for path in list_checkpoints(folder):
        path.unlink()
    (folder / "checkpoint_0000010.pt").write_bytes(good[: len(good) // 2])
    (folder / "checkpoint_0000011.pt").write_bytes(b"")
    (folder / "checkpoint_0000012.pt").write_text("another program's")
    torch.save({"weight": torch.ones(1)}, folder / "checkpoint_0000013.pt")


def test_auto_starts_anew_without_a_whole_checkpoint_says_why_and_keeps_the_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files_that_are_none(tmp_path)
    with pytest.raises(InputError, match="found no whole checkpoint"):
        TrainingCheckpoint(str(tmp_path), resume=True).attach(trainer())
    caplog.clear()
    engine = trainer()
    with caplog.at_level("INFO"):
        TrainingCheckpoint(str(tmp_path), resume="auto").attach(engine)
    assert [text for text in caplog.messages if "skipped, not a whole checkpoint (" in text] == caplog.messages[:4]
    assert "checkpoint_0000013.pt: skipped, not a whole checkpoint (it holds something else)" in caplog.messages[0]
    assert "the training starts anew" in caplog.messages[4]
    run(engine)
    assert engine.state.iteration == 6
    assert len(list(tmp_path.glob("*.damaged"))) == 4
    assert list_checkpoints(tmp_path)[-1].name == "checkpoint_0000006.pt"


def test_auto_takes_the_newest_whole_checkpoint_and_leaves_a_complete_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = trainer()
    TrainingCheckpoint(str(tmp_path), interval=2, keep=3).attach(first)
    run(first)
    done = trainer()
    with caplog.at_level("INFO"):
        TrainingCheckpoint(str(tmp_path), resume="auto").attach(done)
    assert done.complete
    assert "this training is complete, nothing is left to do" in caplog.text
    (tmp_path / "checkpoint_0000006.pt").write_bytes(b"")
    resumed = trainer()
    TrainingCheckpoint(str(tmp_path), resume="auto").attach(resumed)
    assert resumed.state.iteration == 4


def test_a_best_checkpoint_by_a_score_that_there_is_not_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine, validator = trainer(), trainer()
    validator.state.metrics = {"x_ap50": 0.5, "x_dice": 0.5}
    TrainingCheckpoint(str(tmp_path), validator=validator, best="x_ap5").attach(engine)
    validator.fire_event(Events.COMPLETED)
    assert caplog.messages == ["best_checkpoint: found no score x_ap5, expected one of x_ap50, x_dice."]
    assert not (tmp_path / "best.pt").exists()


def test_the_best_checkpoint_stays_over_a_break(tmp_path: Path) -> None:
    scores = {2: 0.5, 4: 0.7, 6: 0.6, 8: 0.65, 10: 0.9}

    def scored(**options: Any) -> Any:
        engine, validator = trainer(**options), trainer()
        validator.state.metrics = {}
        resume = (tmp_path / "best.pt").exists()
        TrainingCheckpoint(str(tmp_path), interval=2, resume=resume, validator=validator, best="ap").attach(engine)

        def validate(engine: Any) -> None:
            validator.state.metrics = {"ap": scores[engine.state.iteration]}
            validator.fire_event(Events.COMPLETED)

        engine.add_event_handler(Events.EPOCH_COMPLETED, validate)
        run(engine)

    for epochs, expected in ((3, 4), (4, 4), (5, 10)):
        scored(max_epochs=epochs)
        assert torch.load(tmp_path / "best.pt", weights_only=True)["iteration"] == expected


# ---- signals ---------------------------------------------------------------------------------------------------------
def stopping(tmp_path: Path, *numbers: int) -> Any:
    """A training that gets signals in its third iteration."""
    engine = trainer(max_epochs=5)
    engine.look_at_all = lambda: None
    TrainingCheckpoint(str(tmp_path), interval=100).attach(engine)

    def send(engine: Any) -> None:
        if engine.state.iteration == 3:
            for number in numbers:
                os.kill(os.getpid(), number)

    engine.add_event_handler(Events.ITERATION_STARTED, send)
    SignalStop().attach(engine)
    return engine


@pytest.fixture
def handlers() -> Iterator[None]:
    """Python's own handlers of signals, which a test in the background has not; given back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]])
def test_a_signal_ends_the_training_after_its_iteration_with_a_checkpoint(
    numbers: list[int], tmp_path: Path, handlers: None
) -> None:
    engine = stopping(tmp_path, *numbers)
    run(engine)
    assert engine.stopped
    assert engine.state.iteration == 3
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint_0000003.pt"]


@pytest.mark.usefixtures("handlers")
def test_a_second_ctrl_c_raises_at_once(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(stopping(tmp_path, signal.SIGTERM, signal.SIGINT))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("handlers")
def test_without_a_signal_the_handlers_are_given_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    engine = stopping(tmp_path)
    run(engine)
    assert not engine.stopped
    assert signal.getsignal(signal.SIGINT) is before


# ---- a full disk, a lost permission ----------------------------------------------------------------------------------
@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Use up what is left, but for a page or two."""
    path = folder / "filler"
    with pytest.raises(OSError, match="No space left"), open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return path


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2**16, (16, 64, 64)).astype(np.uint16)


def test_a_full_disk_costs_no_earlier_checkpoint_and_the_training_goes_on(small: Path) -> None:
    engine = trainer(width=8000)
    TrainingCheckpoint(str(small), interval=2).attach(engine)
    run(engine, stop_at=2)
    before = list_checkpoints(small)
    filler = fill(small)
    again = trainer(width=8000)
    TrainingCheckpoint(str(small), interval=2, resume=True).attach(again)
    with pytest.raises(
        InputError, match=r"checkpoint_0000004\.pt cannot be written: No space left .*Earlier files are whole"
    ):
        run(again)
    assert list_checkpoints(small) == before
    assert not list(small.glob(".*.pt"))
    filler.unlink()
    again = trainer(width=8000)
    TrainingCheckpoint(str(small), interval=2, resume=True).attach(again)
    run(again)
    assert list_checkpoints(small)[-1].name == "checkpoint_0000006.pt"


def test_a_store_that_failed_is_removed_while_its_threads_still_write(tmp_path: Path) -> None:
    def write_on(folder: Path) -> None:
        for number in range(300):
            with suppress(OSError):
                folder.mkdir(exist_ok=True)
                (folder / f"{number}").write_bytes(b"part")
            time.sleep(0.001)

    thread: threading.Thread | None = None
    with pytest.raises(InputError, match=r"a\.zarr"), replacing(tmp_path / "a.zarr") as temporary:
        thread = threading.Thread(target=write_on, args=[temporary])
        thread.start()
        time.sleep(0.05)
        raise OSError(errno.ENOSPC, "No space left on device")
    assert thread is not None
    thread.join()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.h5", "a.nii", "a.nii.gz", "a.zarr", "a.ome.zarr"])
def test_a_full_disk_costs_no_earlier_volume(name: str, small: Path) -> None:
    write_volume(small / name, old := noise()[:4])
    filler = fill(small)
    with pytest.raises(InputError, match=rf"{name}"):
        write_volume(small / name, noise())
    np.testing.assert_array_equal(read_volume(small / name)[0], old)
    assert sorted(path.name for path in small.iterdir()) == sorted([name, "filler"])
    filler.unlink()
    write_volume(small / name, noise()[:8])
    np.testing.assert_array_equal(read_volume(small / name)[0], noise()[:8])


def test_a_training_on_a_full_disk_ends_in_one_line_and_leaves_what_was_whole(
    small: Path, files: dict[str, Any], tiny: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,size=1200k", str(small)], check=True)  # room for the first checkpoint alone
    short = {"max_iterations": 4, "warm_up_iterations": 2, "epoch_length": 2}
    process = started(files, tiny, small, **short, stderr=subprocess.PIPE)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 1
    [line] = [line for line in said.splitlines() if line and not line.startswith("training:")]
    assert line.startswith(f"error: {small / 'checkpoint_0000004.pt'} cannot be written: No space left on device (")
    assert f"MB are free in {small}). Free some space, or choose another place." in line
    assert checkpoint(small, 2)["iteration"] == 2
    torch.load(small / "model.pt", weights_only=True)
    left = [path.name for path in small.rglob("*") if path.name.startswith(".")]
    assert sorted(left) == [".model.pt.lock", ".training.lock"]


def full_disk_writers(folder: Path) -> dict[str, Callable[[], None]]:
    """Handlers that write pictures of noise, which are large."""
    engine = trainer()
    engine.state.panels = {name: torch.rand(1, 8, 128, 128) for name in ("x", "fake_y", "rec_x")}
    log = TensorBoardLog(str(folder))
    log._open(engine)
    panels = CyclePanels(str(folder), None, interval=1)

    def pictures() -> None:
        for iteration in range(4):
            log.add_picture("x", np.random.default_rng(0).random((3, 256, 256)), iteration)
            log._write("loss", {"a": 1.0}, iteration)
        log._close()

    return {"events.out.tfevents": pictures, "panels/cycle_x_0000000.jpg": lambda: panels(engine)}


@pytest.mark.parametrize("name", ["events.out.tfevents", "panels/cycle_x_0000000.jpg"])
def test_a_picture_that_finds_no_room_is_reported_in_one_line(
    name: str, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write = full_disk_writers(small)[name]
    (small / "panels").mkdir()
    filler = fill(small)
    os.truncate(filler, filler.stat().st_size - 4096)
    with pytest.raises(InputError, match=rf"{name} cannot be written: No space left on device \(0\.0 MB are free in"):
        write()
    assert list((small / "panels").iterdir()) == []
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")
def test_a_log_that_finds_no_room_prints_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    plain_errors()
    log = logging.StreamHandler(open("/dev/full", "w"))  # noqa: SIM115
    log.handle(logging.makeLogRecord({"msg": "a line"}))
    assert capsys.readouterr().err == ""


def writers() -> dict[str, Callable[[Path, int], None]]:
    return {
        "a.pt": lambda path, n: save_atomically({"n": torch.full((100,), n)}, path),
        "a.csv": lambda path, n: write_table(path, [{"n": n}]),
        "a.json": lambda path, n: write_text(path, str(n)),
        "a.png": lambda path, n: save(Figure((n, 1)), path),
        "a.tif": lambda path, n: write_volume(path, np.full((4, 8, 8), n, np.uint8)),
    }


@pytest.mark.parametrize("name", writers())
def test_a_permission_that_is_lost_is_told_and_costs_nothing(name: str, small: Path) -> None:
    write = writers()[name]
    write(small / name, 1)
    before = (small / name).read_bytes()
    for mode, message in (("ro", "Read-only file system"), ("rw", "")):
        subprocess.run(["mount", "-o", f"remount,{mode}", str(small)], check=True)
        if message:
            with pytest.raises(InputError, match=f"{name} cannot be written: .*({message}|no permission)"):
                write(small / name, 2)
            assert (small / name).read_bytes() == before
    write(small / name, 2)
    assert (small / name).read_bytes() != before


@pytest.mark.parametrize("name", writers())
def test_a_write_that_fails_at_the_rename_costs_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no file system can be mounted."""
    write = writers()[name]
    write(tmp_path / name, 1)
    before = (tmp_path / name).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        with pytest.raises(InputError, match=f"{name} cannot be written: .*Permission denied"):
            write(tmp_path / name, 2)
    assert (tmp_path / name).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [name]
