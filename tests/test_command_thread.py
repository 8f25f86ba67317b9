"""Threads of commands spin for a short time alone, unless the user's environment says how they wait."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from scripts.command import bundle
from scripts.command.thread import short_waits

from warm import cold

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"
NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
SHOW = "import os, scripts; print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'))"


def shown(argv: str, **given: str) -> str:
    environment = {**{name: value for name, value in os.environ.items() if name not in NAMES}, **given}
    command = [sys.executable, "-c", f"import sys; sys.argv[:] = [{argv!r}]; {SHOW}; assert 'torch' not in sys.modules"]
    with cold():
        return subprocess.check_output(command, cwd=BUNDLE, env=environment, text=True).strip()


def test_what_the_user_says_of_waiting_is_left() -> None:
    assert short_waits({}) == {"GOMP_SPINCOUNT": "1000"}
    assert short_waits({"OMP_NUM_THREADS": "2"}) == short_waits({})
    for name in NAMES:
        assert short_waits({name: "1"}) == {}


def test_our_commands_set_it_before_torch_is_imported_and_an_import_does_not() -> None:
    assert shown("-m") == "1000 None"
    assert shown("-m", OMP_WAIT_POLICY="ACTIVE") == "None ACTIVE"
    assert shown("notebook") == "None None"


def test_commands_of_monai_that_we_start_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Mapping[str, str]] = []
    monkeypatch.setattr(bundle, "_status", lambda command, environment, *_: given.append(environment))
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    bundle.run_bundle("training", ["train"], {})
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    bundle.run_bundle("training", ["train"], {})
    assert [environment["GOMP_SPINCOUNT"] for environment in given] == ["1000", "7"]
    assert os.environ["GOMP_SPINCOUNT"] == "7"
