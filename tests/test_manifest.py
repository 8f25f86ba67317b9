"""A package is compared with the sums that it carries: as it was packed, changed, damaged, or made to do harm."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from scripts.errors import InputError
from scripts.manifest import MANIFEST, main, manifest_text, strays, verify_folder, verify_zip

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"
FILES = {"configs/train.yaml": b"seed: 0\n", "models/model.pt": bytes(range(256)) * 20, "LICENSE": b"free\n"}
PACKED = {**FILES, MANIFEST: manifest_text(FILES).encode()}


def write_zip(path: Path, entries: Iterable[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in PACKED.items():
        (tmp_path / "cysgan" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cysgan" / name).write_bytes(content)
    return tmp_path / "cysgan"


def packed(path: Path, **changed: bytes) -> Path:
    """The package as a zip, files of it changed (their dots and slashes as underscores)."""
    contents = {name: changed.get(name.replace("/", "_").replace(".", "_"), was) for name, was in PACKED.items()}
    return write_zip(path, [(f"cysgan/{name}", content) for name, content in contents.items()])


def test_a_package_as_it_was_packed_passes(folder: Path, tmp_path: Path) -> None:
    assert verify_folder(folder) == []
    assert verify_zip(packed(tmp_path / "a.zip")) == "cysgan"


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not there")
def test_sha256sum_reads_the_list(folder: Path) -> None:
    command = ["sha256sum", "-c", "--quiet", "--strict", MANIFEST]
    assert subprocess.run(command, cwd=folder, check=False).returncode == 0
    (folder / "LICENSE").write_text("not free\n")
    assert subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 1


def test_changed_and_missing_files_of_a_folder_are_named(folder: Path) -> None:
    (folder / "configs" / "train.yaml").write_text("seed: 1\n")
    (folder / "LICENSE").unlink()
    with pytest.raises(
        InputError, match=r"cysgan: 2 of 3 files .*: LICENSE is missing, configs/train.yaml was changed\."
    ):
        verify_folder(folder)


def test_files_beside_the_package_are_told_and_caches_are_not(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "a.pyc").write_bytes(b"")
    (folder / "configs" / "mine.yaml").write_text("")
    (folder / "link").symlink_to("nowhere")
    assert verify_folder(folder) == ["configs/mine.yaml", "link"]
    main(str(folder))
    assert "beside the package's own: configs/mine.yaml, link" in capsys.readouterr().out


def test_a_changed_file_of_a_zip_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.zip: 1 of 3 files .*configs/train.yaml was changed"):
        verify_zip(packed(tmp_path / "a.zip", configs_train_yaml=b"seed: 1\n"))


def test_a_bit_that_flipped_in_a_zip_is_told(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip")
    content = bytearray(path.read_bytes())
    content[content.index(FILES["models/model.pt"]) + 1000] ^= 4
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"models/model\.pt was changed"):
        verify_zip(path)


def test_a_file_that_is_not_on_the_list_of_a_zip_is_named(tmp_path: Path) -> None:
    entries = [(f"cysgan/{name}", content) for name, content in [*PACKED.items(), ("scripts/more.py", b"")]]
    with pytest.raises(InputError, match=r"scripts/more\.py is not on the list"):
        verify_zip(write_zip(tmp_path / "a.zip", entries))


@pytest.mark.parametrize(
    "name", ["../a", "/etc/a", "cysgan/../../a", "cysgan/./a", "C:/a", "cysgan\\..\\a", "cysgan//a"]
)
def test_a_zip_that_would_write_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    entries: list[tuple[str | zipfile.ZipInfo, bytes]] = [(f"cysgan/{own}", was) for own, was in PACKED.items()]
    with pytest.raises(InputError, match="leads out of the folder; do not unpack"):
        verify_zip(write_zip(tmp_path / "a.zip", [*entries, (name, b"")]))


def test_a_zip_with_a_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("cysgan/configs")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(InputError, match="'cysgan/configs' leads out of the folder"):
        verify_zip(write_zip(tmp_path / "a.zip", [(link, b"/etc")]))


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_zip_with_one_name_twice_is_refused(tmp_path: Path) -> None:
    entries = [("cysgan/LICENSE", b"free\n"), ("cysgan/LICENSE", b"not\n")]
    with pytest.raises(InputError, match="'cysgan/LICENSE' is there twice"):
        verify_zip(write_zip(tmp_path / "a.zip", entries))


@pytest.mark.parametrize(
    ("names", "found"), [(["a/b", "c/d"], r"holds a, c; expected one folder"), ([], "nothing"), (["a"], "holds a;")]
)
def test_a_zip_of_anything_but_one_folder_is_refused(tmp_path: Path, names: list[str], found: str) -> None:
    with pytest.raises(InputError, match=found):
        verify_zip(write_zip(tmp_path / "a.zip", [(name, b"") for name in names]))


def test_what_has_no_list_is_told_what_has_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.zip: holds no cysgan/SHA256SUMS; expected a zip that `make package`"):
        verify_zip(write_zip(tmp_path / "a.zip", [("cysgan/LICENSE", b"")]))
    with pytest.raises(InputError, match=r"SHA256SUMS: no such file.* Only what `make package` made"):
        verify_folder(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "no sums\n", f"{'0' * 64}  ../../a\n", f"{'0' * 64}  /etc/a\n", f"{'g' * 64}  a\n"]
)
def test_a_list_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(InputError, match="SHA256SUMS: expected lines of a SHA-256 sum"):
        verify_folder(folder)


@pytest.mark.parametrize("keep", [0, 100, -30])
def test_a_zip_that_was_cut_short_is_told(tmp_path: Path, keep: int) -> None:
    path = packed(tmp_path / "a.zip")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"a\.zip: cannot be read as a zip .* Fetch it again"):
        verify_zip(path)


@pytest.mark.parametrize("name", ["a", "configs/train.yaml", ".hidden", "a..b", "schön/ö", "a b"])
def test_names_within_the_folder_stay(name: str) -> None:
    assert not strays(name)


def test_the_command_says_what_it_found_in_one_line(folder: Path) -> None:
    def command() -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-m", "scripts.manifest", "--path", str(folder)]
        return subprocess.run(arguments, cwd=BUNDLE, capture_output=True, text=True, check=False)

    passed = command()
    assert (passed.returncode, passed.stdout) == (0, f"{folder}: every file is as it was packed\n")
    (folder / "LICENSE").write_bytes(b"")
    refused = command()
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert refused.stderr.startswith("error: ")
    with pytest.raises(InputError, match="no such file or folder"):
        main(str(folder / "nowhere.zip"))
    with pytest.raises(InputError, match=f"{BUNDLE.name}.*no such file"):
        main()  # a checkout has no list
