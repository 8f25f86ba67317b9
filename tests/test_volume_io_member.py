"""Volumes that are made of other files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from scripts.errors import InputError
from scripts.volume_io import create_zarr, last_change, open_volume, read_maps, read_volume, volume_files, write_volume
from scripts.volume_io.zarr_node import write_attributes

READERS = pytest.mark.parametrize(
    "reader", [lambda name: read_volume(name)[0], lambda name: open_volume(name)[...], volume_files]
)
SIDES = (4, 5, 6)


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HDF5 looks into the current folder, too."""
    monkeypatch.delenv("CYSGAN_FOREIGN_FILES", raising=False)
    (tmp_path / "current").mkdir()
    monkeypatch.chdir(tmp_path / "current")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The volume's own folder."""
    own = tmp_path / "own"
    own.mkdir()
    return own


def cube(value: int = 7) -> np.ndarray:
    return np.full(SIDES, value, np.uint8)


def dataset(path: Path, array: np.ndarray, name: str = "data") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "a") as file:
        file[name] = array
    return path


def virtual(path: Path, sources: list[tuple[str, str]], name: str = "raw", total: int | None = None) -> Path:
    """A dataset of cubes on each other."""
    layout = h5py.VirtualLayout((4 * (total or len(sources)), 5, 6), np.uint8)
    for i, (file, data) in enumerate(sources):
        layout[4 * i : 4 * i + 4] = h5py.VirtualSource(file, data, SIDES)
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset(name, layout)
    return path


def numbered(path: Path, file: bytes = b"part%b.h5", data: bytes = b"data") -> Path:
    """A virtual dataset with as many sources as there are."""
    made, unlimited = h5py.h5p.create(h5py.h5p.DATASET_CREATE), h5py.h5s.UNLIMITED
    whole = h5py.h5s.create_simple((12, 5, 6), (unlimited, 5, 6))
    whole.select_hyperslab((0, 0, 0), (unlimited, 1, 1), SIDES, SIDES)
    made.set_virtual(whole, file, data, h5py.h5s.create_simple(SIDES))
    with h5py.File(path, "a") as opened:
        h5py.h5d.create(opened.id, b"raw", h5py.h5t.STD_U8LE, whole, made)
    return path


def parts(folder: Path, count: int = 3) -> list[tuple[str, str]]:
    for i in range(count):
        dataset(folder / f"part{i}.h5", cube(i + 1))
    return [(f"part{i}.h5", "data") for i in range(count)]


def z_values(name: Any) -> list[int]:
    array, opened = read_volume(name)[0], open_volume(name)
    np.testing.assert_array_equal(opened[...], array)
    np.testing.assert_array_equal(opened[3:6, 1:2], array[3:6, 1:2])
    opened.close()
    return array[::4, 0, 0].tolist()


# ---- HDF5: virtual datasets ------------------------------------------------------------------------------------------
def nested(folder: Path) -> Path:
    virtual(folder / "inner.h5", parts(folder))
    layout = h5py.VirtualLayout((12, 5, 6), np.uint8)
    layout[...] = h5py.VirtualSource("inner.h5", "raw", (12, 5, 6))
    with h5py.File(folder / "whole.h5", "w") as file:
        file.create_virtual_dataset("raw", layout)
    return folder / "whole.h5"


def linked_to_virtual(folder: Path) -> Path:
    virtual(folder / "inner.h5", parts(folder))
    with h5py.File(folder / "whole.h5", "w") as file:
        file["g/raw"] = h5py.ExternalLink("inner.h5", "raw")
    return folder / "whole.h5"


VIRTUAL = {
    "plain": lambda folder: virtual(folder / "whole.h5", parts(folder)),
    "numbered": lambda folder: (parts(folder), numbered(folder / "whole.h5"))[1],
    "nested": nested,
    "linked": linked_to_virtual,
    "absolute": lambda folder: virtual(
        folder / "whole.h5", [(f"{folder}/{name}", "data") for name, _ in parts(folder)]
    ),
}


@pytest.mark.parametrize("kind", VIRTUAL)
def test_a_virtual_dataset_is_read_and_its_files_are_listed(folder: Path, kind: str) -> None:
    whole = VIRTUAL[kind](folder)
    assert z_values(whole) == [1, 2, 3]
    names = [path.name for path in volume_files(whole)]
    assert names[0] == "whole.h5" and set(names) >= {"part0.h5", "part1.h5", "part2.h5"}
    assert len(names) == len(set(names))


@READERS
@pytest.mark.parametrize("kind", VIRTUAL)
def test_a_source_that_is_missing_is_named(folder: Path, kind: str, reader: Callable[[Path], Any]) -> None:
    whole = VIRTUAL[kind](folder)
    (folder / "part1.h5").unlink()
    with pytest.raises(InputError, match=r"whole\.h5: .*part1\.h5 is missing"):
        reader(whole)


@READERS
def test_a_source_elsewhere_is_read_only_if_that_is_allowed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: Callable[[Path], Any]
) -> None:
    dataset(tmp_path / "other" / "secret.h5", cube())
    for i, name in enumerate(["../other/secret.h5", str(tmp_path / "other" / "secret.h5")]):
        whole = virtual(folder / f"whole{i}.h5", [(name, "data")])
        with pytest.raises(InputError, match=r"secret\.h5 lies outside .*CYSGAN_FOREIGN_FILES=1"):
            reader(whole)
    (folder / "part0.h5").symlink_to(tmp_path / "other" / "secret.h5")
    whole = virtual(folder / "whole.h5", [("part0.h5", "data")])
    with pytest.raises(InputError, match=r"part0\.h5 \(which leads to .*secret\.h5\) lies outside"):
        reader(whole)
    monkeypatch.setenv("CYSGAN_FOREIGN_FILES", "1")
    assert z_values(whole) == [7]
    assert tmp_path / "other" / "secret.h5" in [path.resolve() for path in volume_files(whole)]


def test_a_volume_may_be_a_link_to_another_folder(folder: Path, tmp_path: Path) -> None:
    virtual(folder / "whole.h5", parts(folder))
    (tmp_path / "current" / "link.h5").symlink_to(folder / "whole.h5")
    assert z_values("link.h5") == [1, 2, 3]
    (folder / "part1.h5").unlink()
    with pytest.raises(InputError, match=r"part1\.h5 is missing"):
        read_volume("link.h5")


def test_sources_in_the_same_file(folder: Path) -> None:
    whole = dataset(folder / "whole.h5", cube(3))
    virtual(whole, [(".", "data")])
    assert z_values(f"{whole}::raw") == [3]
    for name in ("d0", "d2"):
        dataset(folder / "gap.h5", cube(), name)
    with pytest.raises(InputError, match=r"gap\.h5::d1 is missing"):
        read_volume(f"{numbered(folder / 'gap.h5', b'.', b'd%b')}::raw")


@READERS
@pytest.mark.parametrize("kind", ["dataset", "group", "small", "flat", "text"])
def test_a_source_that_is_another_file_is_named(folder: Path, kind: str, reader: Callable[[Path], Any]) -> None:
    whole = virtual(folder / "whole.h5", parts(folder))
    (folder / "part1.h5").unlink()
    match kind:
        case "dataset":
            dataset(folder / "part1.h5", cube(), "other")
        case "group":
            dataset(folder / "part1.h5", cube(), "data/other")
        case "small":
            dataset(folder / "part1.h5", cube()[:2])
        case "flat":
            dataset(folder / "part1.h5", cube()[:, :, 0])
        case _:
            (folder / "part1.h5").write_text("cut short")
    with pytest.raises(InputError, match=r"whole\.h5: .*part1\.h5"):
        reader(whole)


def test_sources_that_lead_in_a_circle_are_refused(folder: Path) -> None:
    layout = h5py.VirtualLayout((4, 5, 6), np.uint8)
    with h5py.File(folder / "a.h5", "w") as file:
        for name, other in (("raw", "back"), ("back", "raw")):
            layout = h5py.VirtualLayout(SIDES, np.uint8)
            layout[:2] = h5py.VirtualSource(".", other, SIDES)[:2]
            file.create_virtual_dataset(name, layout)
    with pytest.raises(InputError, match="its own source"):
        open_volume(f"{folder / 'a.h5'}::raw")


# ---- HDF5: raw files and links ---------------------------------------------------------------------------------------
def raw(folder: Path, name: str = "raw.bin") -> Path:
    with h5py.File(folder / "whole.h5", "w") as file:
        file.create_dataset("raw", SIDES, np.uint8, external=[(name, 4, 60), ("more.bin", 0, h5py.h5f.UNLIMITED)])
    (folder / "raw.bin").write_bytes(bytes(4) + bytes([1]) * 60)
    (folder / "more.bin").write_bytes(bytes([2]) * 60)
    return folder / "whole.h5"


def test_raw_files_are_read_from_beside_their_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = raw(folder)
    assert read_volume(whole)[0][:, 0, 0].tolist() == [1, 1, 2, 2]
    assert open_volume(whole)[...][:, 0, 0].tolist() == [1, 1, 2, 2]
    assert [path.name for path in volume_files(whole)] == ["whole.h5", "raw.bin", "more.bin"]
    monkeypatch.chdir(folder)
    assert read_volume("whole.h5")[0][:, 0, 0].tolist() == [1, 1, 2, 2]


@READERS
def test_raw_files_that_are_missing_short_or_elsewhere_are_named(
    folder: Path, tmp_path: Path, reader: Callable[[Path], Any]
) -> None:
    whole = raw(folder)
    (folder / "more.bin").write_bytes(bytes(30))
    with pytest.raises(InputError, match=r"more\.bin has 30 bytes, expected 60"):
        reader(whole)
    (folder / "more.bin").unlink()
    with pytest.raises(InputError, match=r"more\.bin is missing"):
        reader(whole)
    (tmp_path / "secret").write_bytes(bytes(200))
    with pytest.raises(InputError, match="secret lies outside"):
        reader(raw(folder, str(tmp_path / "secret")))


def bdv(folder: Path) -> Path:
    """A BigDataViewer file with partitions, and links to links."""
    (folder / "parts").mkdir()
    dataset(folder / "parts" / "p0.h5", cube(1), "t00000/s00/0/cells")
    dataset(folder / "parts" / "p1.h5", cube(2)[:, :4], "t00000/s01/0/cells")
    with h5py.File(folder / "bdv.h5", "w") as file:
        for i in range(2):
            file[f"t00000/s0{i}"] = h5py.ExternalLink(f"parts/p{i}.h5", f"t00000/s0{i}")
        file["soft"] = h5py.SoftLink("/chain")
        file["chain"] = h5py.SoftLink("t00000/s00")
        file["s00/resolutions"] = np.ones((1, 3))
    return folder / "bdv.h5"


@pytest.mark.parametrize("name", ["t00000/s00/0/cells", "soft/0/cells", "/chain/0/cells"])
def test_a_dataset_behind_links_is_read(folder: Path, name: str) -> None:
    assert z_values(f"{bdv(folder)}::{name}") == [1]
    assert [path.name for path in volume_files(f"{folder / 'bdv.h5'}::{name}")] == ["bdv.h5", "p0.h5"]


def test_datasets_behind_links_are_listed_and_chosen(folder: Path, tmp_path: Path) -> None:
    whole = bdv(folder)
    with pytest.raises(InputError, match=r"which dataset\? .*s00/resolutions.* t00000/s01/0/cells \(4, 4, 6\)"):
        read_volume(whole)
    (folder / "parts" / "p1.h5").unlink()
    assert z_values(whole) == [1]
    with pytest.raises(InputError, match=r"no dataset 'x'; it has: .*t00000/s01 \(a link to parts/p1\.h5"):
        read_volume(f"{whole}::x")
    with pytest.raises(InputError, match=r"external link .*p1\.h5 is missing"):
        read_volume(f"{whole}::t00000/s01/0/cells")


@READERS
def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path, reader: Callable[[str], Any]) -> None:
    dataset(tmp_path / "secret.h5", cube())
    dataset(folder / "inner.h5", cube(), "own")
    with h5py.File(folder / "inner.h5", "a") as file:
        file["raw"] = h5py.ExternalLink("../secret.h5", "data")
    with h5py.File(folder / "whole.h5", "w") as file:
        file["raw"] = h5py.ExternalLink("inner.h5", "raw")
        file["circle"] = h5py.SoftLink("/circle")
    with pytest.raises(InputError, match=r"secret\.h5 lies outside"):
        reader(f"{folder / 'whole.h5'}::raw")
    with pytest.raises(InputError, match="circle"):
        reader(f"{folder / 'whole.h5'}::circle")


def test_the_voxel_size_and_maps_behind_a_link(folder: Path) -> None:
    dataset(folder / "inner.h5", np.ones((2, 4, 5, 6), np.uint8), "deep/maps")
    with h5py.File(folder / "inner.h5", "a") as file:
        file["deep"].attrs["element_size_um"] = (3.0, 2.0, 1.0)
    with h5py.File(folder / "whole.h5", "w") as file:
        file["a/b/maps"] = h5py.ExternalLink("inner.h5", "/deep/maps")
        file["a/deep"] = h5py.ExternalLink("inner.h5", "/deep")
    assert read_maps(f"{folder / 'whole.h5'}::a/deep/maps")[1] == (3.0, 2.0, 1.0)
    assert read_maps(folder / "whole.h5")[0].shape == (2, 4, 5, 6)


# ---- OME-TIFF --------------------------------------------------------------------------------------------------------
def ome(folder: Path, names: tuple[str, ...] = ("a.ome.tif", "b.ome.tif")) -> Path:
    """Two planes in each file, the metadata in all."""
    planes = "".join(
        f'<TiffData IFD="{i % 2}" FirstZ="{i}" PlaneCount="1"><UUID FileName="{names[i // 2]}">urn:uuid:{i // 2}</UUID>'
        "</TiffData>"
        for i in range(4)
    )
    for i in range(2):
        text = (
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{i}"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="6" SizeY="5" SizeZ="4" SizeC="1" '
            f'SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
        )
        path = (folder / names[i]).resolve()
        tifffile.imwrite(path, cube(i + 1)[:2], description=text, metadata=None, photometric="minisblack")
    return folder / names[0]


def test_an_ome_tiff_of_several_files_is_read_and_listed(folder: Path) -> None:
    path = ome(folder)
    assert read_volume(path)[0][:, 0, 0].tolist() == open_volume(path)[...][:, 0, 0].tolist() == [1, 1, 2, 2]
    assert [one.name for one in volume_files(path)] == ["a.ome.tif", "b.ome.tif"]


@READERS
def test_a_file_of_an_ome_tiff_that_is_missing_or_elsewhere_is_named(
    folder: Path, reader: Callable[[Path], Any]
) -> None:
    with pytest.raises(InputError, match=r"b\.ome\.tif lies outside"):
        reader(ome(folder, ("a.ome.tif", "../b.ome.tif")))
    path = ome(folder)
    (folder / "b.ome.tif").unlink()
    with pytest.raises(InputError, match=r"a\.ome\.tif: .*b\.ome\.tif is missing"):
        reader(path)


def test_an_ome_tiff_may_have_another_name_than_it_says(folder: Path) -> None:
    write_volume(folder / "a.ome.tif", cube())
    (folder / "a.ome.tif").rename(folder / "renamed.tif")
    assert volume_files(folder / "renamed.tif") == [folder / "renamed.tif"]


def test_one_of_the_files_of_a_companion_is_refused(folder: Path) -> None:
    namespace = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    text = f'<OME xmlns="{namespace}"><BinaryOnly MetadataFile="all.companion.ome"/></OME>'
    tifffile.imwrite(folder / "a.ome.tif", cube(), description=text, metadata=None, photometric="minisblack")
    with pytest.raises(InputError, match=r"all\.companion\.ome is missing"):
        read_volume(folder / "a.ome.tif")
    files = "".join(f'<UUID FileName="{name}.ome.tif"/>' for name in "ab")
    (folder / "all.companion.ome").write_text(f"<OME>{files}</OME>")
    with pytest.raises(InputError, match=r"a\.ome\.tif: one of the files that all\.companion\.ome"):
        open_volume(folder / "a.ome.tif")
    (folder / "all.companion.ome").write_text('<OME><UUID FileName="a.ome.tif"/></OME>')
    assert read_volume(folder / "a.ome.tif")[0].shape == SIDES


# ---- Zarr ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_files_of_a_zarr_array(folder: Path, zarr_format: int) -> None:
    store = folder / "a.zarr"
    for name in ("raw", "other"):
        create_zarr(store, (4, 4, 4), np.uint8, (2, 4, 4), zarr_format=zarr_format, dataset=name)[...] = cube()[
            :, :4, :4
        ].copy()
    names = [str(path.relative_to(store)) for path in volume_files(f"{store}::raw")]
    chunks = ["raw/0/0/0", "raw/1/0/0"] if zarr_format == 2 else ["raw/c/0/0/0", "raw/c/1/0/0"]
    metadata = {2: [".zattrs", ".zgroup", "raw/.zarray", "raw/.zattrs"], 3: ["raw/zarr.json", "zarr.json"]}[zarr_format]
    assert sorted(names) == sorted(metadata + chunks)


@READERS
def test_levels_of_an_image_that_lead_out_of_the_store_are_refused(folder: Path, reader: Callable[[Path], Any]) -> None:
    for name in ("a.ome.zarr", "secret.zarr"):
        create_zarr(folder / name, SIDES, np.uint8, SIDES)[...] = cube()
    image = {"axes": [{"name": name} for name in "zyx"], "datasets": [{"path": "../secret.zarr/0"}]}
    write_attributes(folder / "a.ome.zarr", 2, {"multiscales": [image]})
    with pytest.raises(InputError, match=r"secret\.zarr/0.* lies outside"):
        reader(folder / "a.ome.zarr")


@READERS
@pytest.mark.parametrize("place", ["0", "0/0", "0/0/0/0"])
def test_links_in_a_store(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, reader: Callable[[Path], Any]
) -> None:
    create_zarr(folder / "a.zarr", SIDES, np.uint8, SIDES)[...] = cube()
    (folder / "a.zarr" / place).rename(tmp_path / "moved")
    (folder / "a.zarr" / place).symlink_to(tmp_path / "moved")
    (tmp_path / "current" / "link.zarr").symlink_to(folder / "a.zarr")
    with pytest.raises(InputError, match=r"which leads to .*moved\) lies outside"):
        reader(Path("link.zarr"))
    monkeypatch.setenv("CYSGAN_FOREIGN_FILES", "1")
    reader(Path("link.zarr"))
    assert z_values(folder / "a.zarr") == [7]
    if place == "0/0/0/0":
        (tmp_path / "moved").unlink()
        with pytest.raises(InputError, match="is missing"):
            reader(Path("link.zarr"))


# ---- has it changed? -------------------------------------------------------------------------------------------------
def test_a_change_of_any_file_is_seen(folder: Path) -> None:
    whole = virtual(folder / "whole.h5", parts(folder))
    create_zarr(folder / "a.zarr", (4, 4, 4), np.uint8, (2, 4, 4))[...] = np.ones((4, 4, 4), np.uint8)
    for volume, part in ((whole, folder / "part1.h5"), (folder / "a.zarr", folder / "a.zarr" / "0" / "1" / "0" / "0")):
        before = last_change(volume)
        assert last_change(volume) == before
        os.utime(part, ns=(1, 1))
        assert last_change(volume) != before
