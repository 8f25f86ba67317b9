"""A resumed training of every kind is the one that was not interrupted; one of another length follows its own."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from scripts.checkpoint import TrainingCheckpoint, WeightsSaver, list_checkpoints
from scripts.dataset import EndlessSampler
from scripts.errors import InputError
from scripts.handlers import RunningAverage
from scripts.trainer import STAGE_STARTED, CySGANTrainer, MeanTeacherTrainer, TwoStepTrainer, last_iteration
from scripts.trainer.optimizer import adamw, warm_up_cosine
from torch import nn
from torch.utils.data import DataLoader

from test_stopping import differences
from test_trainer import REPRESENTATION, batch, small_networks

EPOCH, TOTAL, STAGE = 4, 10, 5  # iterations; the last epoch is cut short
KINDS: dict[str, tuple[type[CySGANTrainer], dict[str, Any], int]] = {
    "cysgan": (CySGANTrainer, {"translation_noise": 0.1, "pool_size": 1}, STAGE),
    "without a warm-up": (CySGANTrainer, {"pool_size": 1}, 0),
    "source only": (CySGANTrainer, {}, TOTAL),
    "two_step": (TwoStepTrainer, {"pool_size": 1}, TOTAL - STAGE),
    "mean_teacher": (MeanTeacherTrainer, {"ramp_iterations": 4}, TOTAL),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    """Two threads would add in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@functools.cache
def batches() -> list[dict[str, torch.Tensor]]:
    return [batch(number) for number in range(20)]


def made(
    name: str, folder: Path, resume: bool = False, total: int = TOTAL, warm_up: int | None = None, seed: int = 0
) -> CySGANTrainer:
    """A training of a kind with 1x1x1 networks, a checkpoint every iteration, and its average in model.pt."""
    kind, options, default = KINDS[name]
    warm_up = default if warm_up is None else warm_up
    networks = small_networks()
    torch.manual_seed(seed)
    average = RunningAverage(networks["generator_yx"], momentum=0.3)
    parts = {"averaged_generator_yx": average.ema_model, "running_average": average}
    checkpoint = TrainingCheckpoint(str(folder), 1, 100, resume, parts, {"warm_up_iterations": warm_up})
    optimizers = {key: adamw(network, 0.01) for key, network in networks.items()}
    optimizers["warm_up"] = adamw(networks["generator_yx"], 0.02)
    teacher = {"teacher": average.ema_model} if kind is MeanTeacherTrainer else {}
    loader = DataLoader(batches(), None, sampler=EndlessSampler(EPOCH), generator=torch.Generator())
    return kind(
        device="cpu",
        max_epochs=-(-total // EPOCH),
        epoch_length=EPOCH,
        max_iterations=total,
        data_loader=loader,
        networks=networks,
        optimizers=optimizers,
        schedules=warm_up_cosine(optimizers, total - warm_up, 3, own_iterations={"warm_up": warm_up}),
        representation=REPRESENTATION,
        warm_up_iterations=warm_up,
        handlers=[average, checkpoint, WeightsSaver(str(folder / "model.pt"), average.ema_model)],
        **teacher,
        **options,
    )


def read(path: Path) -> Any:
    return torch.load(path, weights_only=True)


# ---- to the last bit -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", KINDS)
def test_a_training_that_goes_on_from_any_iteration_is_the_one_that_was_not_interrupted(
    name: str, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    made(name, whole).run()
    files = list_checkpoints(whole)
    assert [read(path)["iteration"] for path in files] == list(range(1, TOTAL + 1))
    for cut in (2, EPOCH, STAGE, STAGE + 1, TOTAL - 1):
        folder = tmp_path / str(cut)
        folder.mkdir()
        shutil.copy(files[cut - 1], folder)
        trainer = made(name, folder, resume=True, seed=7)
        assert trainer.state.iteration == cut
        trainer.run()
        assert differences(read(files[-1]), read(list_checkpoints(folder)[-1])) == [], cut
        assert differences(read(whole / "model.pt"), read(folder / "model.pt")) == [], cut


def test_the_first_weights_of_two_steps_are_kept_where_those_of_the_command_are_others(tmp_path: Path) -> None:
    """As when `start_from` is not given again."""
    made("two_step", tmp_path).run()
    expected = read(tmp_path / "model.pt")
    for path in list_checkpoints(tmp_path)[2:]:
        path.unlink()
    trainer = made("two_step", tmp_path, resume=True)
    kept = trainer.first.state_dict()  # type: ignore[attr-defined]
    assert all(torch.equal(value, small_networks()["generator_yx"].state_dict()[key]) for key, value in kept.items())
    assert not torch.equal(kept["weight"], trainer.network.state_dict()["weight"])
    trainer.run()
    assert differences(expected, read(tmp_path / "model.pt")) == []


# ---- lengths ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("total", [1, 4, 6])
@pytest.mark.parametrize("name", KINDS)
def test_a_training_ends_with_its_last_iteration_and_all_that_follows_an_epoch(
    name: str, total: int, tmp_path: Path
) -> None:
    trainer = made(name, tmp_path, total=total, warm_up=KINDS[name][2] * total // TOTAL)
    ended: list[tuple[int, int]] = []
    for event in (Events.EPOCH_COMPLETED, Events.COMPLETED):
        trainer.add_event_handler(event, lambda engine: ended.append((engine.state.iteration, engine.state.epoch)))
    trainer.run()
    epochs = -(-total // EPOCH)
    assert ended == [(EPOCH * i, i) for i in range(1, epochs)] + [(total, epochs)] * 2
    assert last_iteration(trainer) == total
    assert list_checkpoints(tmp_path)[-1].name == f"checkpoint_{total:07d}.pt"
    assert (tmp_path / "model.pt").is_file()
    with pytest.raises(InputError, match="this training is complete"):
        made(name, tmp_path, True, total, KINDS[name][2] * total // TOTAL)


def rates_of(trainer: CySGANTrainer) -> dict[int, dict[str, float]]:
    """The rates that the optimisers stepped with, by iteration."""
    rates: dict[int, dict[str, float]] = {}
    for name, optimizer in trainer.optimizers.items():

        def keep(optimizer: Any, *_: Any, name: str = name) -> None:
            rates.setdefault(trainer.state.iteration, {})[name] = optimizer.param_groups[0]["lr"]

        optimizer.register_step_pre_hook(keep)
    trainer.run()
    return rates


@pytest.mark.parametrize("total", [7, pytest.param(17, marks=pytest.mark.long)])
@pytest.mark.parametrize(("name", "cut"), [(name, cut) for name in KINDS for cut in (2, STAGE + 1)])
def test_rates_after_a_break_are_those_of_a_training_of_the_new_length(
    name: str, cut: int, total: int, tmp_path: Path
) -> None:
    all_warm_up = KINDS[name][2] == TOTAL
    warm_up = total if all_warm_up else total - STAGE if name == "two_step" else None
    fresh = rates_of(made(name, tmp_path / "fresh", total=total, warm_up=warm_up))
    made(name, tmp_path / "cut").run()
    for path in list_checkpoints(tmp_path / "cut")[cut:]:
        path.unlink()
    resumed = rates_of(made(name, tmp_path / "cut", True, total, warm_up))
    assert resumed == {number: rates for number, rates in fresh.items() if number > cut}
    assert all(rate > 0 for rates in resumed.values() for rate in rates.values())


def test_a_stage_that_is_over_is_not_moved(tmp_path: Path) -> None:
    made("cysgan", tmp_path / "cysgan").run()
    with pytest.raises(InputError, match="warm_up_iterations was 5, is 6"):
        made("cysgan", tmp_path / "cysgan", True, 20, warm_up=6)
    made("two_step", tmp_path / "two").run()
    with pytest.raises(InputError, match="warm_up_iterations was 5, is 15"):  # the end of the first step
        made("two_step", tmp_path / "two", True, 20)
    made("two_step", tmp_path / "two", True, 20, warm_up=15).run()


def test_a_checkpoint_of_an_earlier_version_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its schedules hold their length, and it has neither count of the average nor end of the stage."""
    made("cysgan", tmp_path).run()
    for path in list_checkpoints(tmp_path)[7:]:
        path.unlink()
    path = list_checkpoints(tmp_path)[-1]
    content = read(path)
    del content["running_average"], content["stage_end"]
    for name in [name for name in content if name.startswith("schedule/")]:
        content[name] |= {"t_total": 5, "warmup_steps": 1, "base_lrs": [1.0], "_last_lr": [1.0], "lr_lambdas": [None]}
    torch.save(content, path)
    trainer = made("cysgan", tmp_path, True, 20)
    assert "without running_average" in caplog.text
    expected = made("cysgan", tmp_path / "other", total=20).schedules["generator_yx"]
    for _ in range(2):
        expected.optimizer.step()
        expected.step()
    assert trainer.optimizers["generator_yx"].param_groups[0]["lr"] == expected.get_last_lr()[0]
    trainer.run()
    assert read(tmp_path / "checkpoint_0000020.pt")["running_average"] == {"updates": 20}


# ---- the average -----------------------------------------------------------------------------------------------------
def averages(momentum: float, count: int, restart: int = 0) -> list[float]:
    """The average of a weight that is random first and then the number of the iteration, after each iteration."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 1e6)
    engine: Any = Engine(lambda engine, _: nn.init.constant_(network.weight, float(engine.state.iteration)))
    engine.register_events(STAGE_STARTED)
    average = RunningAverage(network, momentum)
    average.attach(engine)
    found: list[float] = []
    engine.add_event_handler(Events.ITERATION_STARTED(once=restart or count + 1), lambda e: e.fire_event(STAGE_STARTED))
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda _: found.append(average.ema_model.weight.item()))
    engine.run([0] * count)
    return found


def test_the_average_is_the_mean_of_all_weights_but_the_first_until_its_momentum_is_slower() -> None:
    found = averages(0.1, 12)
    assert found[:10] == pytest.approx([np.mean(range(1, n + 1)) for n in range(1, 11)])
    assert found[10:] == pytest.approx([0.9 * 5.5 + 0.1 * 11, 0.9 * (0.9 * 5.5 + 0.1 * 11) + 0.1 * 12])


def test_the_average_starts_afresh_with_the_second_stage() -> None:
    assert averages(0.002, 6, restart=4) == pytest.approx([1, 1.5, 2, 4, 4.5, 5])


@pytest.mark.parametrize(
    ("name", "expected"), [("cysgan", 3), ("two_step", 3), ("source only", 8), ("mean_teacher", 8)]
)
def test_every_kind_of_training_counts_from_its_stage(name: str, expected: int, tmp_path: Path) -> None:
    made(name, tmp_path).run()
    assert read(tmp_path / "checkpoint_0000008.pt")["running_average"] == {"updates": expected}
