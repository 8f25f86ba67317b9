"""The demonstration end to end, as small as it goes."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import pytest
import torch
from scripts.compare.demo import demo
from scripts.errors import InputError


def test_demo_writes_what_it_promises(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    small = {"max_iterations": 4, "warm_up_iterations": 2, "epoch_length": 2, "validation_interval": 2}
    demo(str(tmp_path), shape=(16, 64, 64), **small, patch_size="[8, 32, 32]", window="[16, 48, 48]")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    for name in ("ap50", "ap75", "f1_50", "found", "present", "classical_ap50", "source_only_ap50", "minutes"):
        assert name in metrics
    assert metrics["present"] > 0
    assert metrics["peak_memory_mb"] > 100
    for name in ("report.png", "report.html", "imageY_instances.tif"):
        assert (tmp_path / name).stat().st_size > 0
    with h5py.File(tmp_path / "imageY_maps.h5") as file:
        assert file["main"].shape == (4, 16, 64, 64)
    assert torch.load(tmp_path / "model.pt", weights_only=True).keys()
    said = capfd.readouterr().out
    assert "found / present" in said
    assert said.endswith(f"{tmp_path / 'report.html'}\n")


def test_a_folder_that_cannot_be_written_is_said_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        demo(str(tmp_path / "file"))
