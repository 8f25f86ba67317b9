"""The tool that measures pages: its figures of a small page, counted by hand, and what pages have to meet."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import prose  # noqa: E402

SHORT = {"README.md": 700, "bundle/docs/README.md": 2500, "bundle/docs/guides/GET_STARTED.md": 600}
PAGE = """\
# A title is no sentence

One two three, see [the page](PAGE.md). Five words are in `python -m this` one; and
three more here are.

| a table | is no prose; at all |
|---|---|

```
no prose; either
```

- An item is one sentence
- Version 0.5 of Y.tif has no end at 0.5. Is this two?
"""


def test_a_small_page_has_the_figures_counted_by_hand() -> None:
    assert list(prose.sentences(PAGE)) == [
        "One two three, see the page.",
        "Five words are in Code one; and three more here are.",
        "An item is one sentence",
        "Version 0.5 of Y.tif has no end at 0.5.",
        "Is this two?",
    ]
    found = prose.figures(PAGE)
    assert (found.words, found.prose, found.median, found.high) == (len(PAGE.split()), 34, 6, 11)
    assert found.semicolons == pytest.approx(1000 / 34)
    assert not found.meets_the_aims()
    letters = sum(character.isalnum() for sentence in prose.sentences(PAGE) for character in sentence)
    assert found.grade == pytest.approx(4.71 * letters / 34 + 0.5 * 34 / 5 - 21.43)


def test_long_words_and_long_sentences_raise_the_grade() -> None:
    plain, hard = "We cut the part. It is small.", "Discriminators characterise translated representations."
    assert prose.figures(plain).grade < 3 < 20 < prose.figures(hard).grade


@pytest.mark.parametrize("page", prose.pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_meets_the_aims(page: Path) -> None:
    found = prose.figures(page.read_text())
    assert found.median <= prose.MEDIAN
    assert found.high <= prose.HIGH
    assert found.semicolons <= prose.SEMICOLONS


@pytest.mark.parametrize("name", SHORT)
def test_a_page_that_is_read_first_is_short(name: str) -> None:
    assert prose.figures((ROOT / name).read_text()).words <= SHORT[name]


def test_the_pages_for_users_stay_short_together() -> None:
    users = [path for path in prose.pages() if path.name != "CONTRIBUTING.md"]
    assert sum(prose.figures(path.read_text()).prose for path in users) < 12_000


def test_an_empty_page_has_figures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "empty.md").write_text("")
    prose.main([tmp_path / "empty.md"])
    assert "empty.md" in capsys.readouterr().out
