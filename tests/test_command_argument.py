"""What is typed is read as the annotations of a command say, and a name stays a name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scripts.command.argument import bound, unknown_flag
from scripts.errors import InputError

NAMES = ("20241105", "20180217_064501", "1e5", "0x10", "01", "None", "True", "...", "-3", "'q'", "{a}", "a,b", "a b")
NAMES += ("[a,b].tif", "fish#2.tif", "x.h5::a/b")


def command(
    out: str | Path,
    image: str | Sequence[str] = "x.tif",
    seed: int = 0,
    weight: float | None = None,
    shape: Sequence[int] = (1, 2, 3),
    keep: bool | str = False,
    names: Sequence[str] | None = None,
    seeds: str | int | Sequence[int] = 0,
    **keys: Any,
) -> None:
    """A command with a flag of every kind."""


def plain(out: str, overwrite: bool = False) -> None:
    """A command without further flags."""


def read(*typed: str) -> dict[str, Any]:
    given = bound(command, typed, "scripts.command")
    given.apply_defaults()
    return {**given.arguments, **given.arguments["keys"]}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("flag", ["out", "image", "output_dir", "label_y"])
def test_a_name_is_kept_as_typed(name: str, flag: str) -> None:
    flags = {"out": "o", flag: name}
    assert read(*(f"--{key}={value}" for key, value in flags.items()))[flag] == name
    assert read(*(word for key, value in flags.items() for word in (f"--{key}", value)))[flag] == name


@pytest.mark.parametrize("text", ["['a.tif', 'b.tif']", "[a.tif,b.tif]", "('a.tif','b.tif')"])
def test_names_in_brackets_are_several(text: str) -> None:
    assert read("--out", "o", "--image", text, "--names", text)["image"] == ["a.tif", "b.tif"]
    assert read("--out", "o", "--names", "a.tif,b.tif")["names"] == ["a.tif", "b.tif"]


def test_values_are_read_by_their_annotations() -> None:
    found = read(
        "o", "--seed", "1e3", "--weight", "-0.5", "--shape", "4,5,6", "--keep", "--seeds", "0,1", "--free", "[8]"
    )
    expected = {
        "out": "o",
        "seed": 1000,
        "weight": -0.5,
        "shape": (4, 5, 6),
        "keep": True,
        "seeds": (0, 1),
        "free": [8],
    }
    assert {key: found[key] for key in expected} == expected
    assert read("-o", "x", "--weight", "None", "--nokeep") == {**read("x"), "keep": False}
    assert read("--out", "x", "--learning-rate", "1e-3")["learning_rate"] == 0.001


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (
            ["--out", "o", "--overwirte"],
            r"--overwirte, expected --out, --overwrite\. Did you mean --overwrite\?",
        ),
        (["--overwrite"], r"found no --out, which scripts\.command needs"),
        (["--out"], "--out: found no value"),
        (["--out", ""], "--out: found no value"),
        (["--out", "--overwrite"], "--out: found no value"),
        (["--out", "a", "--out", "b"], "--out: found twice"),
        (["--out", "a", "--overwrite", "yes"], "--overwrite is 'yes'; expected true or false"),
        (["--out", "a", "--", "b"], "found flag --, expected --out"),
        (["a", "b", "c"], "found c, expected a flag before it: --out, --overwrite"),
    ],
)
def test_what_does_not_fit_is_rejected_in_one_line(typed: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        bound(plain, typed, "scripts.command")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--seed", "two"], "--seed: found two, expected a whole number"),
        (["--seed", "1.5"], "--seed: found 1.5, expected a whole number"),
        (["--seed"], "--seed: found no value, expected a whole number"),
        (["--weight", "[1]"], r"--weight: found \[1\], expected a number"),
        (["--shape", "64"], "--shape: found 64, expected numbers with commas"),
        (["--shape", "a,b,c"], "--shape: found a,b,c, expected numbers with commas"),
    ],
)
def test_a_value_of_another_type_is_rejected(typed: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read("--out", "o", *typed)


def test_an_unknown_flag_without_a_like_one_has_no_suggestion() -> None:
    assert "mean" not in str(unknown_flag("zzz", ["out"]))
