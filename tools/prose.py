"""How hard the pages are to read: words, lengths of sentences, semicolons and a grade, a line for each page.

    .venv/bin/python tools/prose.py
    .venv/bin/python tools/prose.py bundle/docs/guides/*.md

Words are those of the whole file, as `wc -w` counts. The rest is of its prose: without blocks of code, tables,
headings and formulas; a piece of code in a line counts as one word. A sentence ends at a full stop, a question mark or
the end of its paragraph or item. The grade is the automated readability index, about the years of school that
English needs: it counts letters. Grades that count syllables want a dictionary, which `textstat` downloads.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
MEDIAN, HIGH, SEMICOLONS = 15, 28, 2.0
"""What the pages for users aim at: words of a sentence, words of nine in ten sentences, semicolons per 1,000 words."""
NOT_PROSE = r"^```.*?^```|^\$\$.*?^\$\$|<!--.*?-->|^#.*?$|^ *\|.*?$|^---$"
ITEM = r"^ *(?:[-*>]|\d+\.) +"


class Figures(NamedTuple):
    """Of one page: all its words, and of its prose the words, lengths, semicolons per 1,000 words and grade."""

    words: int
    prose: int
    median: int
    high: int
    semicolons: float
    grade: float

    def meets_the_aims(self) -> bool:
        """Whether the sentences are short, and semicolons few."""
        return self.median <= MEDIAN and self.high <= HIGH and self.semicolons <= SEMICOLONS


def main(paths: Sequence[Path]) -> None:
    """Print a line for each page, those that miss an aim marked."""
    print(f"{'page':50}{'words':>7}{'prose':>7}{'median':>8}{'90 %':>6}{'; / 1000':>10}{'grade':>7}")
    for path in paths:
        found = figures(path.read_text())
        mark = "" if found.meets_the_aims() else f"  aims: {MEDIAN}, {HIGH}, {SEMICOLONS:g}"
        numbers = (
            f"{found.words:7}{found.prose:7}{found.median:8}{found.high:6}{found.semicolons:10.1f}{found.grade:7.1f}"
        )
        print(f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path!s:50}{numbers}{mark}")


def pages(root: Path = ROOT) -> list[Path]:
    """Return the pages that people write; those that are generated have no say in their sentences."""
    found = (root / "bundle" / "docs").rglob("*.md")
    return [root / "README.md", root / "CONTRIBUTING.md", *sorted(p for p in found if p.parent.name != "reference")]


def figures(text: str) -> Figures:
    """Return the figures of a page of Markdown."""
    found = [sentence.split() for sentence in sentences(text)] or [[""]]
    lengths = sorted(map(len, found))
    count = sum(lengths)
    letters = sum(character.isalnum() for words in found for word in words for character in word)
    grade = 4.71 * letters / count + 0.5 * count / len(found) - 21.43
    semicolons = 1000 * sum(word.endswith(";") for words in found for word in words) / count
    return Figures(len(text.split()), count, _share(lengths, 0.5), _share(lengths, 0.9), semicolons, grade)


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a page's prose, without markup."""
    prose = re.sub(NOT_PROSE, "\n", text, flags=re.M | re.S)
    prose = re.sub(r"!\[[^]]*\]\([^)]*\)", "", prose)
    prose = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", prose)
    prose = re.sub(r"`[^`]+`", "Code", prose).replace("*", "").replace("e.g.", "eg").replace("et al.", "et al")
    for block in re.split(rf"\n\s*\n|\n(?={ITEM[1:]})", f"\n{prose}"):
        item = re.sub(ITEM, "", block.strip())
        for sentence in re.split(r"(?<=[.?!])[\")]?\s+(?=[\"(]?[A-Z0-9])", " ".join(item.split())):
            if re.search(r"\w", sentence):
                yield sentence


def _share(lengths: Sequence[int], share: float) -> int:
    """The length that this share of the sentences does not exceed."""
    return lengths[min(int(len(lengths) * share), len(lengths) - 1)]


if __name__ == "__main__":
    main([Path(name).resolve() for name in sys.argv[1:]] or pages())
