"""The benchmark tool runs, and its file has the figures; what they are depends on the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).resolve().parents[1] / "tools" / "benchmark.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(TOOL), *arguments], capture_output=True, text=True, check=False)


def test_watershed_of_touching_ellipsoids_is_measured(tmp_path: Path) -> None:
    out = tmp_path / "new" / "figures.json"
    done = run("--only", "watershed", "--shape", "24,48,48", "--iterations", "2", "--threads", "1", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("watershed ")
    report = json.loads(out.read_text())
    assert report["machine"]["threads"] == 1
    figures = report["results"]["watershed"]
    assert figures["shape"] == [24, 48, 48]
    assert figures["instances"] == figures["found"] == 8
    measured = "seconds core_seconds voxels_per_second voxels_per_core_second peak_memory_mb memory_before_mb"
    assert all(figures[name] > 0 for name in measured.split())


def test_a_shape_is_for_one_workload() -> None:
    refused = run("--shape", "8,8,8")
    assert refused.returncode == 2
    assert "one NAME" in refused.stderr
