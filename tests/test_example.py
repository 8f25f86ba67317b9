"""The example pair: reproducible, two size classes, touching nuclei, a target the classical recipe does not solve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage as ndi
from scripts.classical import classical_instances
from scripts.example import SPACING, ElectronLook, make_pair, make_source, varied, write_pair
from scripts.metrics import match_instances
from scripts.volume_io import read_volume

SMALL = (24, 72, 80)


@pytest.fixture(scope="module")
def pair() -> dict[str, np.ndarray]:
    return make_pair()


@pytest.fixture(scope="module")
def small_pair() -> dict[str, np.ndarray]:
    return make_pair(SMALL, seed=5)


def _contacts(label: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of ids that share a face."""
    found: set[tuple[int, int]] = set()
    for axis in range(3):
        a = np.moveaxis(label, axis, 0)[:-1]
        b = np.moveaxis(label, axis, 0)[1:]
        touch = (a != b) & (a > 0) & (b > 0)
        found |= {(min(p), max(p)) for p in zip(a[touch].tolist(), b[touch].tolist(), strict=True)}
    return found


def _inner_diameters(label: np.ndarray) -> np.ndarray:
    """Diameters (in voxels of y) of balls as large as the nuclei that do not reach the border of the volume."""
    sizes = np.bincount(label.ravel())
    faces = [np.take(label, i, axis) for axis in range(3) for i in (0, -1)]
    inner = np.setdiff1d(np.arange(1, len(sizes)), np.concatenate([f.ravel() for f in faces]))
    return np.cbrt(sizes[inner] * np.prod(SPACING) * 6 / np.pi)


def test_shapes_and_types(small_pair: dict[str, np.ndarray]) -> None:
    assert {k: (v.shape, v.dtype.name) for k, v in small_pair.items()} == {
        "imageX": (SMALL, "uint8"),
        "labelX": (SMALL, "uint16"),
        "imageY": (SMALL, "uint8"),
        "labelY": (SMALL, "uint16"),
    }


def test_a_seed_gives_the_same_voxels_again(small_pair: dict[str, np.ndarray]) -> None:
    again = make_pair(SMALL, seed=5)
    assert all(np.array_equal(again[name], volume) for name, volume in small_pair.items())


def test_seeds_and_domains_differ(small_pair: dict[str, np.ndarray]) -> None:
    other = make_pair(SMALL, seed=6)
    assert all((other[name] != volume).mean() > 0.1 for name, volume in small_pair.items())
    assert (small_pair["labelX"] != small_pair["labelY"]).mean() > 0.1


@pytest.mark.parametrize("name", ["labelX", "labelY"])
def test_ids_are_contiguous(pair: dict[str, np.ndarray], name: str) -> None:
    ids = np.unique(pair[name])
    assert ids.tolist() == list(range(len(ids)))
    assert 120 <= ids[-1] <= 220


@pytest.mark.parametrize("name", ["labelX", "labelY"])
def test_each_id_is_one_piece_so_touching_nuclei_have_their_own(pair: dict[str, np.ndarray], name: str) -> None:
    label = pair[name]
    for i, box in enumerate(ndi.find_objects(label), 1):
        assert ndi.label(label[box] == i)[1] == 1, f"{name} {i}"


@pytest.mark.parametrize("name", ["labelX", "labelY"])
def test_a_good_share_of_the_nuclei_touch(pair: dict[str, np.ndarray], name: str) -> None:
    touching = {i for contact in _contacts(pair[name]) for i in contact}
    assert 0.4 < len(touching) / pair[name].max() < 0.95


@pytest.mark.parametrize("name", ["labelX", "labelY"])
def test_two_size_classes(pair: dict[str, np.ndarray], name: str) -> None:
    counts, _ = np.histogram(_inner_diameters(pair[name]), bins=[0, 11, 17.5, 20.5, 27, 99])
    _, small, between, large, _ = counts
    assert small > 1.5 * between
    assert large > 1.5 * between
    assert min(small, large) > 0.2 * counts.sum()


def test_the_domains_have_the_same_shape_statistics(pair: dict[str, np.ndarray]) -> None:
    x, y = (_inner_diameters(pair[name]) for name in ("labelX", "labelY"))
    assert np.median(x) == pytest.approx(np.median(y), rel=0.15)
    assert x.mean() == pytest.approx(y.mean(), rel=0.1)


@pytest.mark.parametrize("domain", ["X", "Y"])
def test_foreground_share_and_polarity(pair: dict[str, np.ndarray], domain: str) -> None:
    image, nuclei = pair[f"image{domain}"], pair[f"label{domain}"] > 0
    assert 0.15 < nuclei.mean() < 0.30
    assert image[nuclei].mean() > image[~nuclei].mean() + 8


@pytest.mark.parametrize("domain", ["X", "Y"])
def test_tones_fill_the_range_without_clipping(pair: dict[str, np.ndarray], domain: str) -> None:
    image = pair[f"image{domain}"]
    assert (image == 255).mean() < 0.01
    assert np.ptp(np.percentile(image, [0.1, 99.9])) > 100


def test_the_target_is_dimmer_in_the_deep_sections(pair: dict[str, np.ndarray]) -> None:
    nuclei = pair["labelY"] > 0
    tone = [pair["imageY"][part][nuclei[part]].mean() for part in (slice(16), slice(48, None))]
    assert tone[1] < 0.8 * tone[0]


def test_the_classical_recipe_does_not_solve_the_target(pair: dict[str, np.ndarray]) -> None:
    matched = match_instances(pair["labelY"], classical_instances(pair["imageY"]), 0.5)
    assert 0.15 < matched.ap < 0.5


def test_a_tiny_volume_still_holds_nuclei() -> None:
    assert make_pair((12, 48, 48), seed=0)["labelX"].max() >= 1


def test_the_command_writes_four_files_with_their_voxel_size(tmp_path: Path) -> None:
    write_pair(tmp_path / "new" / "folder", seed=5, shape=SMALL)
    made = make_pair(SMALL, seed=5)
    for name, volume in made.items():
        stored, voxel_size = read_volume(tmp_path / "new" / "folder" / f"{name}.tif")
        np.testing.assert_array_equal(stored, volume)
        assert voxel_size == pytest.approx(SPACING)


def test_a_varied_look_has_the_same_shapes_and_other_tones(small_pair: dict[str, np.ndarray]) -> None:
    other = make_pair(SMALL, seed=5, vary_look=True)
    for domain in "XY":
        assert np.array_equal(other[f"label{domain}"], small_pair[f"label{domain}"])
        assert (other[f"image{domain}"] != small_pair[f"image{domain}"]).mean() > 0.5


def test_a_varied_look_stays_within_half_as_much_again() -> None:
    usual = ElectronLook()
    ratios = [varied(usual, np.random.default_rng(seed)).noise / usual.noise for seed in range(50)]
    assert 1 / 1.5 <= min(ratios) < 0.75
    assert 1.3 < max(ratios) <= 1.5


def test_a_source_is_rendered_over_given_shapes(small_pair: dict[str, np.ndarray], tmp_path: Path) -> None:
    write_pair(tmp_path, seed=5, shape=SMALL)
    write_pair(tmp_path / "x", shapes=str(tmp_path / "labelY.tif"), seed=3)
    image, label = (read_volume(tmp_path / "x" / f"{name}X.tif")[0] for name in ("image", "label"))
    assert np.array_equal(label, small_pair["labelY"])
    assert np.array_equal(image, make_source(label, seed=3))
    assert image[label > 0].mean() > image[label == 0].mean() + 8
    assert not (tmp_path / "x" / "imageY.tif").exists()
