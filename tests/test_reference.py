"""The generated reference is current, and nothing that a user can set, type, read or import is missing from it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "bundle"
sys.path.insert(0, str(ROOT / "tools"))
import docstring  # noqa: E402
import key  # noqa: E402
import product  # noqa: E402
import reference  # noqa: E402

# Names in the code that no command writes under them: what is read, examples, and what lies in a `*.work` or a package.
NOT_WRITTEN = {
    "README.md",
    "bioimageio.yaml",
    "doubt.zarr",
    "inference.json",
    "label_server.yaml",
    "labels.zarr",
    "metadata.json",
}
NOT_WRITTEN |= {
    "labels.zarr",
    "multi_gpu_train.yaml",
    "owner.json",
    "page.html",
    "published.yaml",
    "rdf.yaml",
    "report.tif",
    "seeds.zarr",
}
NOT_WRITTEN |= {"train.yaml", "vol_02.tif", "zarr.json"}


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference.pages()


@pytest.mark.parametrize("name", ["KEYS.md", "COMMANDS.md", "FILES.md", "PYTHON.md"])
def test_the_page_is_current(name: str, pages: dict[str, str]) -> None:
    current = reference.FOLDER.joinpath(name).read_text() == pages[name]
    assert current, f"docs/reference/{name} is older than its sources: run `make reference` and commit what it writes"


@pytest.mark.parametrize("base", ["train", "inference"])
def test_every_key_is_there(base: str, pages: dict[str, str]) -> None:
    part = pages["KEYS.md"].partition(f"\n## {base}.yaml\n")[2].partition("\n## ")[0]
    shared = pages["KEYS.md"] if base == "inference" else part
    keys = [name for name in yaml.safe_load((key.CONFIGS / f"{base}.yaml").read_text()) if name != "imports"]
    assert [name for name in keys if f"| `{name}" not in shared] == []


def test_a_key_has_its_default_its_range_and_its_sentence(pages: dict[str, str]) -> None:
    row = "| `augmentation_scale` | `$@patch_size[2] / 129` | a number above 0 | Factor on the published lengths in"
    assert row in pages["KEYS.md"]
    assert (
        "| `decoder::seed_foreground` | `0.9` | a number from 0 to 1 | For seeds, foreground above. |"
        in pages["KEYS.md"]
    )


def test_a_key_without_a_word_ends_the_tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path in key.CONFIGS.glob("*.yaml"):
        (tmp_path / path.name).write_text(re.sub(r"^(seed: 0)  #.*", r"\1", path.read_text(), flags=re.M))
    (tmp_path / "train.yaml").write_text((tmp_path / "train.yaml").read_text().replace("seed: 0", "seed: 0\nlonely: 3"))
    monkeypatch.setattr(key, "CONFIGS", tmp_path)
    with pytest.raises(SystemExit, match=r"train\.yaml: no comment says what lonely means"):
        key.page()


def test_every_command_is_there_with_all_its_flags(pages: dict[str, str]) -> None:
    for module, function in reference.mains():
        part = pages["COMMANDS.md"].partition(f"\n## python -m {module}\n")[2].partition("\n## ")[0]
        flags = re.findall(r"^\| `--(\w+)`.*\|(.*)\|$", part, re.M)
        assert [name for name, _ in flags] == [name for name in function.__annotations__ if f"`--{name}`" in part]
        assert all(meaning.strip() for _, meaning in flags), module


def test_every_file_that_the_code_names_is_there() -> None:
    known = product.page().replace("NAME_", "imageY_")
    texts = "\n".join(path.read_text() for path in (BUNDLE / "scripts").rglob("*.py"))
    named = set(re.findall(r'"(?:\{\w+\}_?)?\.?([\w*]+\.(?:csv|json|pt|png|html|npz|zarr|md|sh|yaml|tif|h5))"', texts))
    lacking = sorted(name for name in named - NOT_WRITTEN if name not in known)
    assert lacking == [], "add a line to tools/product.py, or the name to NOT_WRITTEN here"


def test_a_docstring_becomes_rows_of_a_table() -> None:
    """Draw a row. The rest is not shown.

    Args:
        out: the PNG,
            written last.
        **keys: of :func:`draw`, such as ``seed``.

    Raises:
        InputError: never.
    """
    this = SimpleNamespace(__doc__=test_a_docstring_becomes_rows_of_a_table.__doc__)
    assert docstring.summary(this) == "Draw a row."
    assert docstring.arguments(this) == {"out": "the PNG, written last.", "keys": "of `draw`, such as `seed`."}
    assert docstring.cell("a | b") == r"A \| b"


def test_check_names_a_page_that_is_not_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "pages", lambda: {"A.md": "new\n", "B.md": "same\n"})
    monkeypatch.setattr(reference, "FOLDER", tmp_path)
    for name, text in {"A.md": "old\n", "B.md": "same\n"}.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(SystemExit, match=r"not current: A\.md\. Run `make reference`\."):
        reference.main(["--check"])
    reference.main([])
    assert (tmp_path / "A.md").read_text() == "new\n"
