"""Checkpoints: whole or not at all, the last few kept, resumed from the newest whole one, refused where they misfit."""

from __future__ import annotations

import logging
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from scripts.checkpoint import (
    RandomState,
    TrainingCheckpoint,
    WeightsLoader,
    WeightsSaver,
    file_states,
    list_checkpoints,
    load_weights,
    save_atomically,
    started_from,
)
from scripts.checkpoint.settings import check_settings, plain
from scripts.errors import InputError
from scripts.trainer.image_pool import ImagePool
from scripts.volume_io import write_volume
from torch import nn

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"


def trainer(rank: int = 0, epoch_length: int = 2, max_epochs: int = 3, width: int = 1) -> Any:
    """An engine with one of each part of the real one; a step moves all of them and draws a random number."""
    network = nn.Linear(width, 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)
    pool = ImagePool(2)

    def step(engine: Engine, batch: Any) -> float:
        optimizer.zero_grad()
        network(torch.randn(1, width)).sum().backward()
        optimizer.step()
        schedule.step()
        pool(torch.randn(1, 1, 2, 2, 2))
        return float(torch.rand(()))

    engine: Any = Engine(step)
    engine.networks, engine.optimizers, engine.schedules = {"g": network}, {"g": optimizer}, {"g": schedule}
    engine.pools, engine.loss_scaler = {"d": pool}, torch.amp.GradScaler("cuda", enabled=False)
    state = {"rank": rank, "epoch_length": epoch_length, "max_epochs": max_epochs, "iteration": 0, "epoch": 0}
    for name, value in state.items():
        setattr(engine.state, name, value)
    return engine


def run(engine: Any, stop_at: int | None = None) -> list[float]:
    """Run as MONAI's trainers do, on data that never end; return the random numbers drawn."""
    drawn: list[float] = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: drawn.append(e.state.output))
    if stop_at:
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=stop_at), lambda e: e.terminate())
    engine.run([0] * engine.state.epoch_length, max_epochs=engine.state.max_epochs)
    return drawn


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_that_is_written_anew_is_old_or_new_never_half(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save_atomically({"a": torch.ones(3)}, path)
    # killed without notice in the middle of the writing
    code = (
        "import os, sys, torch\n"
        "from scripts.checkpoint import save_atomically\n"
        "torch.save = lambda content, file: (file.write(b'half'), file.flush(), os._exit(9))\n"
        "save_atomically({}, sys.argv[1])\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], cwd=BUNDLE, check=False)
    assert killed.returncode == 9
    assert [path.read_bytes() for path in tmp_path.glob(".*.model.pt")] == [b"half"]
    assert torch.equal(torch.load(path, weights_only=True)["a"], torch.ones(3))
    save_atomically({"a": torch.zeros(3)}, path)
    assert torch.equal(torch.load(path, weights_only=True)["a"], torch.zeros(3))
    assert names(tmp_path) == ["model.pt"]


def test_weights_go_from_one_network_to_another(tmp_path: Path) -> None:
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    save_atomically(first.state_dict(), tmp_path / "model.pt")
    load_weights(second, tmp_path / "model.pt")
    assert torch.equal(first.weight, second.weight)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (nn.Linear(4, 2), r"1 parameters differ, first 'weight': \(2, 4\) in the file, \(2, 3\) in the network"),
        (nn.Linear(3, 2, bias=False), r"first 'bias': nothing in the file, \(2,\) in the network"),
        (nn.Bilinear(3, 1, 2), r"first 'weight': \(2, 3, 1\) in the file"),
        (nn.Sequential(nn.Linear(3, 2)), r"4 parameters differ, first 'weight': nothing in the file"),
    ],
)
def test_weights_of_another_network_name_the_first_difference(tmp_path: Path, other: nn.Module, words: str) -> None:
    network = nn.Linear(3, 2)
    before = network.weight.clone()
    torch.save(other.state_dict(), tmp_path / "model.pt")
    with pytest.raises(InputError, match=rf"model\.pt: does not fit the network: .*{words}"):
        load_weights(network, tmp_path / "model.pt")
    assert torch.equal(network.weight, before)


def test_what_is_no_file_of_weights_is_refused(tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    with pytest.raises(InputError, match=r"none\.pt: no such file"):
        load_weights(network, tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("weights")
    with pytest.raises(InputError, match=r"text\.pt: found no readable weights .* file that training wrote\.$"):
        load_weights(network, tmp_path / "text.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match=r"list\.pt: does not fit the network: 2 parameters differ"):
        load_weights(network, tmp_path / "list.pt")


def test_weights_note_their_maps_beside_the_keys_of_the_network(tmp_path: Path) -> None:
    first, second, path = nn.Linear(3, 2), nn.Linear(3, 2), tmp_path / "model.pt"
    WeightsSaver(str(path), first, map_names=["foreground", "contour"])(trainer())
    state = torch.load(path, weights_only=True)
    assert list(state) == ["weight", "bias"]
    second.load_state_dict(state)  # as MONAI and MONAI Label do
    load_weights(second, path, ["foreground", "contour"])
    load_weights(second, path)
    assert torch.equal(first.weight, second.weight)
    with pytest.raises(InputError, match=r"model\.pt: was trained for the maps foreground, contour, expected aff"):
        load_weights(second, path, ["affinity"])
    engine = Engine(lambda *_: None)
    WeightsLoader(str(path), second, ["affinity"]).attach(engine)
    with pytest.raises(InputError, match="target_"):
        engine.run([0])
    torch.save(first.state_dict(), path)  # one that says nothing of its maps
    load_weights(second, path, ["affinity"])


def test_a_training_of_other_maps_is_not_resumed(tmp_path: Path) -> None:
    engine = trainer()
    engine.representation = SimpleNamespace(names=["affinity"])
    TrainingCheckpoint(str(tmp_path)).attach(engine)
    run(engine, stop_at=2)
    engine = trainer()
    engine.representation = SimpleNamespace(names=["foreground", "contour", "distance"])
    with pytest.raises(InputError, match=r"\.pt: was trained for the maps affinity, expected foreground"):
        TrainingCheckpoint(str(tmp_path), resume=True).attach(engine)
    engine.representation.names = ["affinity"]
    TrainingCheckpoint(str(tmp_path), resume=True).attach(engine)


def test_a_training_can_start_from_the_weights_of_another(tmp_path: Path) -> None:
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    own = second.weight.clone()
    save_atomically(first.state_dict(), tmp_path / "model.pt")
    assert torch.equal(started_from(second, None).weight, own)
    assert torch.equal(started_from(second, tmp_path / "model.pt").weight, first.weight)
    with pytest.raises(InputError, match=r"none\.pt: no such file"):
        started_from(second, tmp_path / "none.pt")


def test_weights_are_loaded_when_an_engine_starts(tmp_path: Path) -> None:
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    torch.save(first.state_dict(), tmp_path / "model.pt")
    engine = Engine(lambda engine, batch: second(torch.ones(1)).item())
    WeightsLoader(str(tmp_path / "model.pt"), second).attach(engine)
    assert engine.run([0]).output == pytest.approx(first(torch.ones(1)).item())


def test_weights_are_saved_on_the_event_and_the_interval_by_rank_0_alone(tmp_path: Path) -> None:
    engine, other = trainer(), trainer(rank=1)
    network = engine.networks["g"]
    wrapped = SimpleNamespace(module=network)  # as DistributedDataParallel has it
    seen: list[list[str]] = []
    WeightsSaver(str(tmp_path / "each.pt"), network, interval=4).attach(engine)
    WeightsSaver(str(tmp_path / "end.pt"), wrapped).attach(engine)  # type: ignore[arg-type]
    WeightsSaver(str(tmp_path / "epoch.pt"), network, event="epoch_completed").attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda _: seen.append(names(tmp_path)))
    run(engine)
    assert [seen[1], seen[2], seen[3]] == [[], ["epoch.pt"], ["each.pt", "epoch.pt"]]
    for name in ("each", "end", "epoch"):
        assert torch.equal(torch.load(tmp_path / f"{name}.pt", weights_only=True)["weight"], network.weight)
    WeightsSaver(str(tmp_path / "rank1.pt"), network).attach(other)
    run(other)
    assert not (tmp_path / "rank1.pt").exists()


def test_a_training_that_is_found_complete_writes_its_weights_once_more(tmp_path: Path) -> None:
    path, network, engine = tmp_path / "model.pt", nn.Linear(1, 1), trainer()
    torch.save({"of": "an earlier checkpoint"}, path)
    engine.complete, engine.state.iteration = True, 6
    WeightsSaver(str(tmp_path / "stage.pt"), network, event="epoch_completed").attach(engine)
    WeightsSaver(str(path), network).attach(engine)
    assert torch.load(path, weights_only=True).keys() == network.state_dict().keys()
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]


def test_weights_of_an_earlier_training_are_kept_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, network, engine = tmp_path / "model.pt", nn.Linear(3, 2), trainer()
    path.write_bytes(b"earlier")
    saver = WeightsSaver(str(path), network)
    saver(engine)
    saver(engine)
    assert (tmp_path / "model_previous.pt").read_bytes() == b"earlier"
    load_weights(nn.Linear(3, 2), path)
    assert [record.message.partition(": ")[2] for record in caplog.records] == [
        "the weights that were there are kept as model_previous.pt."
    ]


def test_random_streams_go_on_from_a_file(tmp_path: Path) -> None:
    np.random.standard_normal()  # leaves a cached second value
    torch.save(RandomState().state_dict(), tmp_path / "state.pt")
    expected = (random.random(), np.random.standard_normal(3).tolist(), torch.rand(3).tolist())
    RandomState().load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert (random.random(), np.random.standard_normal(3).tolist(), torch.rand(3).tolist()) == expected


def test_checkpoints_come_every_interval_and_at_the_end_and_the_last_stay(tmp_path: Path) -> None:
    engine = trainer(epoch_length=5, max_epochs=2)
    TrainingCheckpoint(str(tmp_path), interval=3, keep=2).attach(engine)
    run(engine)
    assert names(tmp_path) == ["checkpoint_0000009.pt", "checkpoint_0000010.pt"]


def test_another_rank_writes_nothing(tmp_path: Path) -> None:
    engine = trainer(rank=1)
    TrainingCheckpoint(str(tmp_path), interval=1).attach(engine)
    run(engine)
    assert names(tmp_path) == []


def test_resumed_training_is_the_one_that_was_not_interrupted(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = trainer()
    start = {name: value.clone() for name, value in whole.networks["g"].state_dict().items()}
    torch.manual_seed(1)
    drawn = run(whole)

    torch.manual_seed(0)
    cut = trainer()
    assert torch.equal(cut.networks["g"].weight, start["weight"])
    TrainingCheckpoint(str(tmp_path), interval=3).attach(cut)  # in the middle of an epoch
    torch.manual_seed(1)
    run(cut, stop_at=4)
    (tmp_path / "checkpoint_0000004.pt").unlink()
    torch.manual_seed(7)
    resumed = trainer()
    TrainingCheckpoint(str(tmp_path), interval=3, resume=True).attach(resumed)
    assert (resumed.state.iteration, resumed.state.epoch) == (3, 1)
    assert run(resumed) == drawn[3:]
    assert resumed.state.iteration == 6
    assert torch.equal(resumed.networks["g"].weight, whole.networks["g"].weight)
    assert resumed.schedules["g"].last_epoch == 6
    assert all(map(torch.equal, resumed.pools["d"].samples, whole.pools["d"].samples))


def test_a_damaged_newest_file_is_passed_over_with_a_message(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = trainer()
    TrainingCheckpoint(str(tmp_path), interval=2, keep=3).attach(first)
    run(first)
    newest = list_checkpoints(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    (tmp_path / ".node-1-0a.checkpoint_0000009.pt").write_bytes(b"half")
    resumed = trainer()
    with caplog.at_level(logging.INFO):
        TrainingCheckpoint(str(tmp_path), resume=True).attach(resumed)
    assert resumed.state.iteration == 4
    assert "checkpoint_0000006.pt: skipped, not a whole checkpoint" in caplog.messages[0]
    assert "checkpoint_0000004.pt at iteration 4" in caplog.messages[-1]


def test_another_rank_resumes_with_random_streams_of_its_own(tmp_path: Path) -> None:
    first = trainer()
    TrainingCheckpoint(str(tmp_path), interval=2).attach(first)
    run(first)
    drawn = []
    for rank in (0, 1, 1):
        resumed = trainer(rank=rank, max_epochs=4)
        TrainingCheckpoint(str(tmp_path), resume=True).attach(resumed)
        drawn.append((torch.rand(()).item(), np.random.random(), random.random()))
    assert drawn[1] == drawn[2]
    assert not set(drawn[0]) & set(drawn[1])


def test_further_parts_are_kept_too(tmp_path: Path) -> None:
    average = nn.Linear(1, 1)
    first = trainer()
    TrainingCheckpoint(str(tmp_path), parts={"average": average}).attach(first)
    run(first)
    content = torch.load(list_checkpoints(tmp_path)[-1], weights_only=True)
    assert torch.equal(content["average"]["weight"], average.weight)
    assert {"network/g", "optimizer/g", "schedule/g", "pool/d", "loss_scaler", "random", "iteration"} <= set(content)


def test_a_training_that_starts_anew_replaces_the_files_of_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "checkpoint_0000099.pt").write_bytes(b"old")
    (tmp_path / "checkpoint_of_mine.pt").write_bytes(b"mine")
    engine = trainer()
    TrainingCheckpoint(str(tmp_path), interval=100).attach(engine)
    assert "--resume goes on instead" in caplog.text
    assert (tmp_path / "checkpoint_0000099.pt").exists()  # until the training runs
    run(engine)
    assert names(tmp_path) == ["checkpoint_0000006.pt", "checkpoint_of_mine.pt"]


def test_what_cannot_be_resumed_is_said(tmp_path: Path) -> None:
    def resume(engine: Any) -> None:
        TrainingCheckpoint(str(tmp_path), resume=True).attach(engine)

    with pytest.raises(InputError, match="found no whole checkpoint to resume from"):
        resume(trainer())
    first = trainer()
    TrainingCheckpoint(str(tmp_path)).attach(first)
    run(first)
    with pytest.raises(InputError, match=r"this training is complete\. Raise max_iterations"):
        resume(trainer())
    with pytest.raises(InputError, match="epochs of 2 iterations, this run has 3"):
        resume(trainer(epoch_length=3))
    with pytest.raises(
        InputError, match="pt, network/g: does not fit the network: 1 parameters differ, first 'weight'"
    ):
        resume(trainer(max_epochs=4, width=2))
    other = trainer(max_epochs=4)
    other.optimizers["second"] = other.optimizers["g"]
    with pytest.raises(InputError, match="optimizer/second does not fit this configuration"):
        resume(other)


def test_weights_that_were_not_fetched_are_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab\nsize 12345\n")
    with pytest.raises(
        InputError, match=r"model\.pt: found no readable weights, it is a pointer of Git LFS.*git lfs pull"
    ):
        load_weights(torch.nn.Linear(1, 1), path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"it is empty \(0 bytes\)"):
        load_weights(torch.nn.Linear(1, 1), path)


def test_a_checkpoint_without_the_weight_of_a_new_term_goes_on() -> None:
    before = {"loss_weights": {"cycle_x": 1.0}, "betas": [0.5, 0.9]}
    check_settings(before, {"loss_weights": {"cycle_x": 1.0, "share_y": 0.0}, "betas": [0.5, 0.9]}, "a.pt")
    for changed in ({"loss_weights": {"cycle_x": 2.0, "share_y": 0.0}}, {"betas": [0.5, 0.8]}):
        with pytest.raises(InputError, match="was written with other settings: "):
            check_settings(before, changed, "a.pt")


def test_another_file_is_refused_and_one_that_was_copied_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image, label = tmp_path / "image.tif", tmp_path / "label.tif"
    for path in (image, label):
        write_volume(path, np.arange(8, dtype=np.uint8).reshape(2, 2, 2))

    def now() -> dict[str, Any]:
        return {"files": plain(file_states(x=[{"image": str(image), "label": str(label)}], y=[{"image": str(image)}]))}

    before = now()
    check_settings(before, now(), "a.pt")
    check_settings({}, now(), "a.pt")  # of an earlier version
    moved = tmp_path / "moved.tif"
    shutil.copy2(image, moved)
    image = moved
    check_settings(before, now(), "a.pt")
    assert not caplog.messages
    os.utime(label, (1, 1))
    check_settings(before, now(), "a.pt")
    assert [message.partition(" was")[0] for message in caplog.messages] == [f"a.pt: {label} has changed since, or"]
    write_volume(label, np.zeros((2, 2, 9), np.uint8))
    with pytest.raises(InputError, match=r"was trained on another .*label\.tif: \d+ bytes of .* then, \d+ bytes"):
        check_settings(before, now(), "a.pt")
