from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import torch
import zarr
from monai.data import DataLoader, Dataset
from monai.transforms import LoadImaged, SaveImaged
from scripts.errors import InputError
from scripts.volume_io import (
    VolumeReader,
    VolumeWriter,
    check_writable,
    create_zarr,
    list_volumes,
    open_volume,
    open_zarr_for_writing,
    read_volume,
    write_volume,
    zarr_array,
)

from warm import cold

SIZE = (0.5, 0.25, 0.125)
FORMATS = pytest.mark.parametrize("zarr_format", [2, 3])
BUNDLE = Path(__file__).resolve().parents[1] / "bundle"


def example(dtype: Any = np.uint16, shape: tuple[int, ...] = (20, 30, 40)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def stored(path: Path, zarr_format: int = 2, **options: Any) -> Path:
    """A store that the package zarr wrote."""
    options = {"data": example(), "chunks": (8, 8, 8), **options}
    zarr.create_array(path, zarr_format=zarr_format, **options)
    return path


# What we write


@FORMATS
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "uint64", "float32", "float64", "bool", "float16"])
def test_another_reader_finds_what_was_written(tmp_path: Path, zarr_format: int, dtype: str) -> None:
    array = example(dtype)
    volume = create_zarr(tmp_path / "a.zarr", array.shape, dtype, (8, 16, 16), SIZE, zarr_format=zarr_format)
    volume[:13] = array[:13]
    volume[13:, 5:] = array[13:, 5:]
    expected = array.copy()
    expected[13:, :5] = 0
    found = zarr.open_group(tmp_path / "a.zarr", mode="r")["0"]
    np.testing.assert_array_equal(found[:], expected)
    assert found.dtype == volume.dtype == {"bool": "uint8", "float16": "float32"}.get(dtype, dtype)
    assert found.chunks == volume.chunks == (8, 16, 16) and found.compressors
    np.testing.assert_array_equal(volume[...], expected)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.zarr")[0], expected)
    assert volume.voxel_size == read_volume(tmp_path / "a.zarr")[1] == SIZE


@FORMATS
def test_a_rerun_goes_on_with_what_is_there(tmp_path: Path, zarr_format: int) -> None:
    for part in (slice(0, 8), slice(8, 20)):
        volume = create_zarr(tmp_path / "a.zarr", (20, 30, 40), np.uint16, (8, 8, 8), zarr_format=zarr_format)
        volume[part] = example()[part]
    np.testing.assert_array_equal(open_zarr_for_writing(tmp_path / "a.zarr")[...], example())


@pytest.mark.parametrize(
    "change", [{"shape": (20, 30, 41)}, {"dtype": np.uint8}, {"chunks": (8, 8, 4)}, {"zarr_format": 3}]
)
def test_an_array_of_another_kind_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    options: dict[str, Any] = {"shape": (20, 30, 40), "dtype": np.uint16, "chunks": (8, 8, 8)}
    create_zarr(tmp_path / "a.zarr", **options)[:] = example()
    with pytest.raises(InputError, match=r"a\.zarr.*(an array already, uint16 of shape \(20, 30, 40\)|version 2)"):
        create_zarr(tmp_path / "a.zarr", **(options | change))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.zarr")[0], example())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": "a.h5"}, "expected a name that ends in .zarr"),
        ({"shape": (4, 5), "chunks": (2, 2)}, "3 or 4 positive sides"),
        ({"chunks": (2, 0, 2)}, "3 or 4 positive sides"),
        ({"zarr_format": 1}, "version 2 or 3"),
        ({"voxel_size": (1, 2)}, "expected three positive micrometres"),
        ({"dtype": complex}, "complex128; expected integers or floats"),
    ],
)
def test_what_is_no_volume_is_not_made(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"path": "a.zarr", "shape": (4, 5, 6), "dtype": "u1", "chunks": (2, 2, 2)} | options
    with pytest.raises(InputError, match=words):
        create_zarr(tmp_path / given.pop("path"), **given)
    assert not list(tmp_path.iterdir())


@FORMATS
def test_a_store_that_cannot_be_made_is_an_error(tmp_path: Path, zarr_format: int) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "b.zarr" / "0").mkdir(parents=True)
    (tmp_path / "b.zarr" / ".zattrs").write_text('{"note": "ours"}')
    (tmp_path / "b.zarr" / "0" / ".zgroup").write_text('{"zarr_format": 2}')
    for path, words in (
        ("file/a.zarr", "cannot be written"),
        ("b.zarr", "there is a group already|group of version 3"),
    ):
        with pytest.raises(InputError, match=words):
            create_zarr(tmp_path / path, (4, 5, 6), np.uint8, (2, 2, 2), zarr_format=zarr_format)
    create_zarr(tmp_path / "b.zarr", (4, 5, 6), np.uint8, (2, 2, 2), dataset="1")
    assert json.loads((tmp_path / "b.zarr" / ".zattrs").read_text()) == {"note": "ours"}


@pytest.mark.parametrize("array", [np.zeros((2, 5, 6), np.int64), np.zeros((3, 5, 6), np.uint8), np.uint8(3)])
def test_parts_of_another_type_or_shape_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    volume = create_zarr(tmp_path / "a.zarr", (4, 5, 6), np.uint8, (2, 2, 2))
    with pytest.raises(InputError, match=r"a\.zarr::0: an array of .*; expected uint8, shape \(2, 5, 6\)"):
        volume[:2] = array


@FORMATS
def test_a_chunk_that_cannot_be_written_is_an_error(tmp_path: Path, zarr_format: int) -> None:
    volume = create_zarr(tmp_path / "a.zarr", (4, 5, 6), np.uint8, (2, 2, 2), zarr_format=zarr_format)
    (tmp_path / "a.zarr" / "0" / ("0" if zarr_format == 2 else "c")).touch()  # where a folder of chunks has to be
    with pytest.raises(InputError, match=r"a\.zarr/0/.* cannot be written: Not a directory"):
        volume[:2] = np.ones((2, 5, 6), np.uint8)


def test_fill_value_and_dataset(tmp_path: Path) -> None:
    volume = create_zarr(tmp_path / "a.zarr", (4, 5, 6), np.float32, (2, 2, 2), fill_value=0.5, dataset="maps/all")
    assert (volume[...] == 0.5).all()
    assert not [path for path in (tmp_path / "a.zarr" / "maps" / "all").iterdir() if path.name[:2] != ".z"]
    with pytest.raises(InputError, match=r"no array '0'; it has: maps/all \(4, 5, 6\)"):
        open_zarr_for_writing(tmp_path / "a.zarr")


@FORMATS
def test_chunks_are_written_beside_and_renamed(tmp_path: Path, zarr_format: int) -> None:
    """A second name of the old chunk keeps its content: the file was replaced, not written over."""
    volume = create_zarr(tmp_path / "a.zarr", (8, 8, 8), np.uint8, (8, 8, 8), zarr_format=zarr_format)
    volume[:] = np.ones((8, 8, 8), np.uint8)
    (chunk,) = [path for path in (tmp_path / "a.zarr").rglob("0") if path.is_file()]
    os.link(chunk, tmp_path / "before")
    before = (tmp_path / "before").read_bytes()
    volume[:] = np.full((8, 8, 8), 2, np.uint8)
    assert (tmp_path / "before").read_bytes() == before != chunk.read_bytes()
    assert [path.name for path in chunk.parent.iterdir()] == ["0"]


# What others write


@pytest.mark.parametrize(
    ("zarr_format", "options"),
    [
        (2, {}),
        (2, {"compressors": None}),
        (2, {"data": example(">u2")}),
        (2, {"order": "F"}),
        (3, {}),
        (3, {"compressors": None}),
        (3, {"shards": (16, 16, 16)}),
        (2, {"filters": [numcodecs.Delta("<u2")], "compressors": numcodecs.LZ4()}),
        (2, {"compressors": {"id": "gzip", "level": 1}, "chunk_key_encoding": {"name": "v2", "separator": "/"}}),
        (2, {"compressors": {"id": "bz2", "level": 1}, "fill_value": None}),
        (3, {"filters": {"name": "transpose", "configuration": {"order": [2, 0, 1]}}}),
        (3, {"compressors": [{"name": "gzip", "configuration": {"level": 1}}, {"name": "crc32c"}]}),
        (3, {"serializer": {"name": "bytes", "configuration": {"endian": "big"}}}),
    ],
)
def test_stores_of_others_are_read_part_by_part(tmp_path: Path, zarr_format: int, options: dict[str, Any]) -> None:
    path = stored(tmp_path / "a.zarr", zarr_format, **options)
    volume = open_volume(path)
    assert volume.shape == (20, 30, 40) and volume.chunks == (8, 8, 8)
    part = volume[3:17, :9, 33:]
    assert part.dtype == np.uint16 and part.dtype.isnative
    np.testing.assert_array_equal(part, example()[3:17, :9, 33:])


@pytest.mark.filterwarnings("ignore:The data type")  # text has no place in version 3 yet
@FORMATS
@pytest.mark.parametrize("dtype", [complex, "U5"])
def test_what_is_no_number_is_refused(tmp_path: Path, zarr_format: int, dtype: Any) -> None:
    path = stored(tmp_path / "a.zarr", zarr_format, data=np.zeros((4, 5, 6), dtype), chunks=(2, 2, 2))
    with pytest.raises(InputError, match=r"a\.zarr: values of type .*; expected integers or floats"):
        open_volume(path)


def test_axes_of_length_1_are_dropped_and_others_refused(tmp_path: Path) -> None:
    stored(tmp_path / "a.zarr", data=example(shape=(1, 1, 20, 30, 40)), chunks=(1, 1, 8, 8, 8))
    volume = open_volume(tmp_path / "a.zarr")
    np.testing.assert_array_equal(volume[2:4], example()[2:4])
    assert volume.chunks == (8, 8, 8)
    stored(tmp_path / "b.zarr", data=example(shape=(2, 1, 5, 6, 7)), chunks=(1, 1, 2, 2, 2))
    with pytest.raises(InputError, match=r"b\.zarr: 5D, shape \(2, 1, 5, 6, 7\); expected \(Z, Y, X\)"):
        open_volume(tmp_path / "b.zarr")
    assert open_volume(tmp_path / "b.zarr", ndim=4).shape == (2, 5, 6, 7)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"element_size_um": SIZE}, SIZE),
        ({"voxel_size": (40, 4, 4), "units": ["nm"] * 3}, (0.04, 0.004, 0.004)),
        ({}, None),
    ],
)
def test_voxel_size_of_a_plain_array(tmp_path: Path, attributes: dict[str, Any], expected: Any) -> None:
    stored(tmp_path / "a.zarr", attributes=attributes)
    size = open_volume(tmp_path / "a.zarr").voxel_size
    assert size is None if expected is None else size == pytest.approx(expected)


@FORMATS
def test_a_group_of_several_asks_which(tmp_path: Path, zarr_format: int) -> None:
    for dataset, dtype in (("volumes/raw", np.uint8), ("volumes/label", np.uint32)):
        sides, chunks = (4, 5, 6), (2, 2, 2)
        create_zarr(tmp_path / "a.zarr", sides, dtype, chunks, zarr_format=zarr_format, dataset=dataset)[...] = np.ones(
            sides, dtype
        )
    with pytest.raises(InputError, match=r"a\.zarr: which array\? It has: volumes/label .*volumes/raw \(4, 5, 6\)"):
        open_volume(tmp_path / "a.zarr")
    with pytest.raises(InputError, match=r"no array or group 'main'; it has: volumes/label"):
        open_volume(tmp_path / "a.zarr", dataset="main")
    for volume in (
        open_volume(f"{tmp_path / 'a.zarr'}::volumes/raw"),
        open_volume(tmp_path / "a.zarr" / "volumes" / "raw"),
        open_volume(tmp_path / "a.zarr", "volumes/raw"),
    ):
        assert volume.dtype == np.uint8


# Damage


@FORMATS
def test_a_cut_chunk_is_an_error_that_names_the_store_and_the_chunk(tmp_path: Path, zarr_format: int) -> None:
    path = stored(tmp_path / "a.zarr", zarr_format)
    chunk = path / ("0.1.2" if zarr_format == 2 else "c/0/1/2")
    chunk.write_bytes(chunk.read_bytes()[:40])
    volume = open_volume(path)
    np.testing.assert_array_equal(volume[8:], example()[8:])
    with pytest.raises(InputError, match=r"a\.zarr cannot be read as Zarr.*0.1.2"):
        volume[:4]


@FORMATS
def test_a_store_that_has_gone_is_not_made_again(tmp_path: Path, zarr_format: int) -> None:
    """It may be about to be replaced, for which its place must be free."""
    volume = open_volume(stored(tmp_path / "a.zarr", zarr_format))
    (tmp_path / "a.zarr").rename(tmp_path / "old.zarr")
    with pytest.raises(InputError, match=r"a\.zarr cannot be read as Zarr"):
        volume[...]
    assert os.listdir(tmp_path) == ["old.zarr"]


def test_nothing_goes_on_where_a_chunk_is_damaged(tmp_path: Path) -> None:
    """Else the other chunks would be read for nobody, and zarr would complain of them when the program ends."""
    path = stored(tmp_path / "a.zarr", 2, chunks=(2, 2, 2))
    (path / "0.0.0").write_bytes(b"nothing")
    volume = open_volume(path)
    for _ in range(2):
        with pytest.raises(InputError, match=r"0\.0\.0"):
            volume[...]
        assert not asyncio.all_tasks(zarr.core.sync.loop[0])
    np.testing.assert_array_equal(volume[2:], example()[2:])


def test_threads_that_find_damage_at_once_do_not_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [stored(tmp_path / f"{name}.zarr", 2, chunks=(20, 30, 40)) for name in "ab"]
    for name in names:
        (name / "0.0.0").write_bytes(b"nothing")
    read_volume(stored(tmp_path / "c.zarr", 2))  # which starts zarr's loop
    both, errors = threading.Barrier(2, timeout=20), list[InputError]()

    def sync_at_once(work: Any) -> None:
        """Have the loop find the work of both threads when it comes back from a pause."""
        if both.wait() == 0:
            zarr.core.sync.loop[0].call_soon_threadsafe(time.sleep, 0.3)
        both.wait()
        zarr.core.sync.sync(work)

    def read(name: Path) -> None:
        try:
            read_volume(name)
        except InputError as error:
            errors.append(error)

    monkeypatch.setattr(zarr_array, "sync", sync_at_once)
    threads = [threading.Thread(target=read, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(errors) == 2 and all("0.0.0" in str(error) for error in errors)


@FORMATS
def test_a_store_that_changed_shape_is_an_error(tmp_path: Path, zarr_format: int) -> None:
    path = stored(tmp_path / "a.zarr", zarr_format)
    volume = open_volume(path)
    zarr.open_array(path).resize((21, 30, 40))
    with pytest.raises(InputError, match=r"shape \(21, 30, 40\), which was \(20, 30, 40\)"):
        volume[:4]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".zarray", "{"),
        (".zarray", "[]"),
        (".zarray", '{"shape": [2], "chunks": [2], "dtype": "(<u2"}'),
        ("zarr.json", "{}"),
        ("zarr.json", '{"node_type": "array"}'),
    ],
)
def test_metadata_that_make_no_sense_are_an_error(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / name).write_text(content)
    with pytest.raises(InputError, match=r"a\.zarr"):
        open_volume(tmp_path / "a.zarr")


@pytest.mark.parametrize("read", [read_volume, open_volume, list_volumes])
def test_a_folder_that_is_no_store_is_refused(tmp_path: Path, read: Any) -> None:
    (tmp_path / "a.zarr" / "chunks").mkdir(parents=True)
    with pytest.raises(InputError, match=r"a\.zarr: a folder with chunks, without metadata of Zarr; expected one of"):
        read(tmp_path / "a.zarr")
    (tmp_path / "b.zarr").touch()
    with pytest.raises(InputError, match=r"b\.zarr is a file; expected a Zarr store"):
        read(tmp_path / "b.zarr")
    with pytest.raises(InputError, match=r"c\.zarr: no such file"):
        read(tmp_path / "c.zarr")


# Whole volumes, lists and MONAI


@pytest.mark.parametrize("name", ["a.zarr", "a.ome.zarr", "a.zarr::volumes/raw"])
@pytest.mark.parametrize("dtype", ["uint8", "uint64", "int64", "float32"])
def test_values_types_and_voxel_size_come_back(tmp_path: Path, name: str, dtype: str) -> None:
    write_volume(tmp_path / name, example(dtype), SIZE)
    for given in (tmp_path / name, tmp_path / name.partition("::")[0]):
        array, size = read_volume(given)
        np.testing.assert_array_equal(array, example(dtype))
        assert array.dtype == dtype and size == SIZE and array.flags.c_contiguous and array.flags.writeable


@pytest.mark.parametrize("name", ["a.zarr", "a.ome.zarr"])
def test_without_a_voxel_size_none_is_made_up(tmp_path: Path, name: str) -> None:
    write_volume(tmp_path / name, example())
    assert read_volume(tmp_path / name)[1] is None


def test_a_store_is_replaced_only_by_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.ome.zarr"
    write_volume(path, example(shape=(30, 40, 50)), labels=True)
    write_volume(path, example())
    np.testing.assert_array_equal(read_volume(path)[0], example())
    with monkeypatch.context() as patch:
        patch.setattr(
            "scripts.volume_io.zarr._fill", lambda *given: (_ for _ in ()).throw(OSError(28, "No space left"))
        )
        with pytest.raises(InputError, match=r"a\.ome\.zarr cannot be written: .*No space left"):
            write_volume(path, example() + 1)
    np.testing.assert_array_equal(read_volume(path)[0], example())
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ome.zarr"]


def test_a_link_to_a_store_is_replaced_and_the_store_kept(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.zarr", example())
    (tmp_path / "b.zarr").symlink_to("a.zarr")
    write_volume(tmp_path / "b.zarr", example() + 1)
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "b.zarr"]
    np.testing.assert_array_equal(read_volume(tmp_path / "a.zarr")[0], example())
    np.testing.assert_array_equal(read_volume(tmp_path / "b.zarr")[0], example() + 1)


def test_a_failed_rename_puts_the_old_store_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_volume(tmp_path / "a.zarr", example())
    replace = os.replace

    def fail_once_moved(source: Any, target: Any) -> None:
        if target == tmp_path / "a.zarr" and not str(source).endswith(".old"):
            raise OSError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr("scripts.volume_io.paths.os.replace", fail_once_moved)
    with pytest.raises(InputError, match=r"cannot be written: .*Permission denied"):
        write_volume(tmp_path / "a.zarr", example() + 1)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.zarr")[0], example())
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("folder.zarr", r"folder\.zarr: a folder with results\.txt, without metadata"),
        ("file.zarr", r"file\.zarr is a file; a Zarr store is a folder"),
        ("store.zarr/0", "lies in a Zarr store"),
        ("b.ome.zarr::main", "OME-Zarr numbers its levels; leave out '::main'"),
    ],
)
def test_what_is_no_store_is_not_replaced(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "folder.zarr" / "results.txt").touch()
    (tmp_path / "file.zarr").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=words):
        write_volume(tmp_path / name, example())
    if "::" not in name:
        with pytest.raises(InputError, match=words):
            check_writable(tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before


def test_patterns_match_stores(tmp_path: Path) -> None:
    for name in ("b.zarr", "a.ome.zarr", "c.tif"):
        write_volume(tmp_path / name, example())
    assert list_volumes(str(tmp_path / "*.zarr")) == [str(tmp_path / "a.ome.zarr"), str(tmp_path / "b.zarr")]
    assert list_volumes(f"{tmp_path}/a*.zarr::0") == [f"{tmp_path}/a.ome.zarr::0"]


def test_monai_loads_and_saves_stores(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.ome.zarr", example(np.uint32, (8, 200, 200)), SIZE)
    load = LoadImaged("image", reader=VolumeReader, dtype=None, ensure_channel_first=True)
    for spec in ("a.ome.zarr", "a.ome.zarr::0"):
        data = load({"image": f"{tmp_path / spec}"})
        where: dict[str, Any] = {"output_dir": tmp_path / "out", "output_ext": ".ome.zarr", "output_postfix": "ids"}
        writer = partial(VolumeWriter, labels=True)
        SaveImaged("image", writer=writer, separate_folder=False, resample=False, **where)(data)
        (path,) = (tmp_path / "out").iterdir()
        assert path.name == "a.ome_ids.ome.zarr"  # as MONAI names what came from .ome.tif, too
        array, size = read_volume(path)
        np.testing.assert_array_equal(array, example(np.uint32, (8, 200, 200)))
        assert size == SIZE and open_volume(f"{path}::1").shape == (8, 200, 100)
        assert "image-label" in json.loads((path / ".zattrs").read_text())


# Processes


class Parts(torch.utils.data.Dataset[np.ndarray]):
    def __init__(self, path: Path) -> None:
        self.volume = open_volume(path)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> np.ndarray:
        return self.volume[index : index + 1].astype(np.int32)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
@FORMATS
def test_workers_forked_after_their_parent_has_read_can_read(tmp_path: Path, zarr_format: int) -> None:
    parts = Parts(stored(tmp_path / "a.zarr", zarr_format))
    first = parts[0]  # starts zarr's threads, which a fork does not copy
    loader = DataLoader(Dataset(parts), batch_size=1, num_workers=2, multiprocessing_context="fork", timeout=60)  # type: ignore[arg-type]
    batches = [np.asarray(batch)[0] for batch in loader]
    np.testing.assert_array_equal(np.concatenate(batches), example()[:4])
    np.testing.assert_array_equal(first, example()[:1])


def test_opening_does_not_wait_for_zarr(tmp_path: Path) -> None:
    """Commands that only look what is there save the half second that zarr takes to start."""
    write_volume(tmp_path / "a.ome.zarr", example(), SIZE)
    code = f"import sys; from scripts.volume_io import open_volume; open_volume({str(tmp_path / 'a.ome.zarr')!r}); "
    code += "assert 'zarr' not in sys.modules"
    with cold():
        subprocess.run([sys.executable, "-c", code], cwd=BUNDLE, check=True)


WRITE = """
import sys, numpy as np
from scripts.volume_io import create_zarr
volume = create_zarr(sys.argv[1], (32, 128, 128), np.uint16, (16, 64, 64), (1, 1, 1), zarr_format=int(sys.argv[2]))
print("begun", flush=True)
for value in range(1, 60000):
    volume[...] = np.full(volume.shape, value, np.uint16)
"""


@FORMATS
def test_writers_that_are_killed_leave_whole_chunks(tmp_path: Path, zarr_format: int) -> None:
    """Two processes make the same array, write the same chunks, and are killed in the middle of it."""
    command = [sys.executable, "-c", WRITE, str(tmp_path / "a.zarr"), str(zarr_format)]
    writers = [subprocess.Popen(command, cwd=BUNDLE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [writer.stdout and writer.stdout.readline() for writer in writers] == ["begun\n"] * 2
    volume = open_zarr_for_writing(tmp_path / "a.zarr")
    for i in range(40):  # while they write, and after one of them and both have been killed
        if i in (20, 30):
            writers[i // 10 - 2].kill()
            writers[i // 10 - 2].communicate()
        chunks = volume[...].reshape(2, 16, 2, 64, 2, 64).transpose(0, 2, 4, 1, 3, 5).reshape(8, -1)
        assert (chunks == chunks[:, :1]).all()
    assert volume.voxel_size == (1, 1, 1)
    volume[...] = example(shape=(32, 128, 128))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.zarr")[0], example(shape=(32, 128, 128)))


def test_attributes_that_a_kill_prevented_are_written_by_the_next_run(tmp_path: Path) -> None:
    options: dict[str, Any] = {"shape": (4, 5, 6), "dtype": "u1", "chunks": (2, 2, 2), "voxel_size": SIZE}
    create_zarr(tmp_path / "a.zarr", **options)
    (tmp_path / "a.zarr" / "0" / ".zattrs").unlink()
    assert create_zarr(tmp_path / "a.zarr", **options).voxel_size == SIZE


def test_an_array_of_which_only_attributes_are_there_is_completed(tmp_path: Path) -> None:
    """Another process has just begun it, or was killed: the two files of version 2 are written in any order."""
    options: dict[str, Any] = {"shape": (4, 5, 6), "dtype": "u1", "chunks": (2, 2, 2), "voxel_size": SIZE}
    create_zarr(tmp_path / "a.zarr", **options)
    (tmp_path / "a.zarr" / "0" / ".zarray").unlink()
    assert create_zarr(tmp_path / "a.zarr", **options).voxel_size == SIZE
    (tmp_path / "b.zarr" / "0" / "inner").mkdir(parents=True)  # a group of another program, and what is in it
    (tmp_path / "b.zarr" / "0" / ".zattrs").write_text("{}")
    with pytest.raises(InputError, match="there is a group already"):
        create_zarr(tmp_path / "b.zarr", **options)


@FORMATS
def test_volumes_go_through_pickle(tmp_path: Path, zarr_format: int) -> None:
    volume = open_volume(stored(tmp_path / "a.zarr", zarr_format))
    volume[:1]
    again = pickle.loads(pickle.dumps(volume))
    np.testing.assert_array_equal(again[3:5], example()[3:5])
    again.close()
    np.testing.assert_array_equal(again[3:5], example()[3:5])
