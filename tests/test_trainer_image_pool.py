"""History of generated volumes: filling, exchanging, and the way through a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scripts.trainer.image_pool import ImagePool
from torch import Tensor


def samples(*numbers: int) -> Tensor:
    """Batch (B, 1, 1, 2, 2) of constant samples, so that a sample is known by its number."""
    return torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1, 1, 1).expand(-1, 1, 1, 2, 2)


def numbers(batch: Tensor) -> list[int]:
    return [int(sample.flatten()[0]) for sample in batch]


def stored(pool: ImagePool) -> list[int]:
    return numbers(torch.stack(pool.samples))


def test_until_it_is_full_every_sample_is_stored_and_returned() -> None:
    pool = ImagePool(4)
    assert numbers(pool(samples(1, 2))) == [1, 2]
    assert numbers(pool(samples(3))) == [3]
    assert stored(pool) == [1, 2, 3]


def test_a_batch_that_fills_it_half_way_through_is_exchanged_from_there() -> None:
    torch.manual_seed(0)
    pool = ImagePool(2)
    returned = numbers(pool(samples(1, 2, 3, 4, 5, 6)))
    assert returned[:2] == [1, 2]
    assert len(pool.samples) == 2
    assert set(returned) | set(stored(pool)) == {1, 2, 3, 4, 5, 6}


def test_when_full_a_sample_comes_back_or_takes_the_place_of_the_one_returned() -> None:
    torch.manual_seed(0)
    pool = ImagePool(3)
    pool(samples(0, 1, 2))
    exchanged = 0
    for new in range(3, 60):
        before = stored(pool)
        [returned] = numbers(pool(samples(new)))
        exchanged += returned != new
        if returned == new:
            assert stored(pool) == before
        else:
            assert stored(pool) == [new if old == returned else old for old in before]
    assert 0 < exchanged < 57


def test_half_of_the_samples_are_exchanged_and_every_place_alike() -> None:
    torch.manual_seed(0)
    pool, places, count = ImagePool(4), [0] * 4, 2000
    pool(samples(0, 1, 2, 3))
    for new in range(4, 4 + count):
        before = stored(pool)
        pool(samples(new))
        for place, (old, now) in enumerate(zip(before, stored(pool), strict=True)):
            places[place] += old != now
    assert sum(places) / count == pytest.approx(0.5, abs=0.04)
    assert [n / sum(places) for n in places] == pytest.approx([0.25] * 4, abs=0.05)


def test_a_seed_repeats_what_is_returned() -> None:
    runs = []
    for _ in range(2):
        torch.manual_seed(5)
        pool = ImagePool(2)
        runs.append([numbers(pool(samples(i, i + 1))) for i in range(0, 40, 2)])
    assert runs[0] == runs[1]


def test_nothing_returned_or_stored_has_a_gradient() -> None:
    torch.manual_seed(0)
    pool, parameter = ImagePool(2), torch.ones(1, requires_grad=True)
    for i in range(6):
        returned = pool(samples(i) * parameter)
        assert not returned.requires_grad
        assert not any(sample.requires_grad for sample in pool.samples)


def test_what_happens_to_a_batch_afterwards_does_not_reach_the_store() -> None:
    torch.manual_seed(0)
    pool = ImagePool(2)
    for i in range(1, 9):
        batch = samples(i).clone()
        returned, after = pool(batch), stored(pool)
        batch.zero_()
        returned.zero_()
        assert stored(pool) == after
    assert max(after) > 2


def test_without_capacity_every_sample_comes_back_as_it_was() -> None:
    pool = ImagePool(0)
    for i in range(20):
        assert numbers(pool(samples(i, -i))) == [i, -i]
    assert pool.samples == []


def test_a_pool_comes_back_from_a_file_of_tensors(tmp_path: Path) -> None:
    pool, other = ImagePool(3), ImagePool(3)
    pool(samples(1, 2, 3))
    torch.save(pool.state_dict(), tmp_path / "pool.pt")
    other.load_state_dict(torch.load(tmp_path / "pool.pt", weights_only=True))
    assert stored(other) == [1, 2, 3]
    for each in (pool, other):
        torch.manual_seed(1)
        each(samples(4, 5, 6, 7))
    assert stored(pool) == stored(other)


def test_a_saved_pool_does_not_change_any_more() -> None:
    torch.manual_seed(0)
    pool = ImagePool(1)
    pool(samples(1))
    state = pool.state_dict()
    pool(samples(*range(2, 12)))
    assert numbers(torch.stack(state["samples"])) == [1]


@pytest.mark.parametrize(("capacity", "kept"), [(5, [1, 2, 3]), (3, [1, 2, 3]), (2, [2, 3]), (0, [])])
def test_a_smaller_pool_takes_the_newest_samples(capacity: int, kept: list[int]) -> None:
    pool = ImagePool(capacity)
    pool.load_state_dict({"samples": list(samples(1, 2, 3))})
    assert numbers(pool.samples) == kept
    pool(samples(4, 5, 6))
    assert len(pool.samples) == min(capacity, 6)


def test_samples_of_a_checkpoint_follow_the_batch_to_its_device_and_precision() -> None:
    torch.manual_seed(0)
    pool = ImagePool(8)
    pool.load_state_dict({"samples": list(samples(*range(8)))})
    returned = pool(samples(*range(8, 16)).bfloat16().to("meta"))
    assert (returned.device.type, returned.dtype, len(returned)) == ("meta", torch.bfloat16, 8)
    assert {sample.device.type for sample in pool.samples} == {"cpu", "meta"}
