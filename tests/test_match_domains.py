"""Object sizes, polarity and intensity of two domains; the overlay, the picture, and what is said when unsure."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from matplotlib.image import imread
from monai.bundle import ConfigParser
from scripts.errors import InputError
from scripts.example import make_pair
from scripts.match_domains import label_diameters, match_volumes, overlay_text, shapes_of, warn_of_sizes
from scripts.match_domains.__main__ import main
from scripts.match_domains.blob import BlobStrength, coarse_blobs, refined_widths
from scripts.match_domains.density import image_share, label_share, wanted_shares
from scripts.match_domains.diameter import ImageSize, Shapes
from scripts.match_domains.intensity import intensity_window, label_polarity
from scripts.match_domains.match import Sizes, _size_warnings, _sizes_of_y, scales
from scripts.match_domains.overlay import table_text
from scripts.match_domains.piece import block_means, piece_slices, shrunk
from scripts.transforms.scaling import ScaleVolume
from scripts.volume_io import read_volume, write_volume

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"
Pair = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def pair() -> Pair:
    return make_pair((40, 112, 112), seed=5)


def ellipsoid(shape: tuple[int, ...], radii: tuple[float, ...]) -> np.ndarray:
    grid = np.indices(shape) - np.array(shape).reshape(3, 1, 1, 1) // 2
    return (grid / np.array(radii).reshape(3, 1, 1, 1)).__pow__(2).sum(0) <= 1


def resized(image: np.ndarray, scale: tuple[float, float, float]) -> np.ndarray:
    return np.rint(ScaleVolume(scale)(image[None].astype(np.float32))[0]).astype(image.dtype)


# Rulers


def test_the_diameters_of_an_ellipsoid() -> None:
    label = ellipsoid((20, 40, 60), (5, 12, 20)).astype(np.uint16) * 7
    diameters, count = label_diameters(label)
    assert count == 1
    np.testing.assert_allclose(diameters, (10, 24, 40), rtol=0.05)


def test_objects_at_the_border_are_not_measured_where_there_are_others() -> None:
    label = np.zeros((12, 60, 60), np.int64)
    for i in range(5):
        label[3:9, 5 + 10 * i : 13 + 10 * i, 20:28] = 10**9 + i  # large ids cost nothing
    whole = label_diameters(label)
    label[0:2, 0:40, 40:60] = 3
    np.testing.assert_array_equal(label_diameters(label)[0], whole[0])
    assert label_diameters(label)[1] == 5
    assert label_diameters(np.zeros((4, 4, 4), int))[1] == 0


def test_a_gaussian_blob_is_found_at_its_own_widths() -> None:
    z, y, x = np.meshgrid(*[np.arange(n) - n // 2 for n in (48, 96, 96)], indexing="ij")
    blob = np.exp(-(z**2) / (2 * 2.0**2) - (y**2 + x**2) / (2 * 5.0**2)).astype(np.float32)
    strength = BlobStrength([blob])
    assert strength(2, 5)[0] > strength(2, 5)[1]
    z_width, plane = refined_widths([blob], (3, 3))  # type: ignore[misc]
    assert z_width / plane == pytest.approx(2 / 5, rel=0.05)
    coarse = coarse_blobs(100 * blob)[0].widths / (z_width, plane)
    assert ((coarse > 0.5) & (coarse < 2)).all()


def test_noise_holds_no_blob() -> None:
    noise = np.random.default_rng(0).standard_normal((24, 64, 64)).astype(np.float32)
    assert refined_widths([noise], (1.5, 1.5)) is None


def test_large_volumes_are_looked_at_in_parts_at_low_resolution() -> None:
    parts = piece_slices((100, 50, 400), (64, 64, 64), seed=1)
    assert len(parts) == 3
    assert parts == piece_slices((100, 50, 400), (64, 64, 64), seed=1)
    assert all([s.stop - s.start for s in part] == [64, 50, 64] for part in parts)
    assert piece_slices((9, 9, 9), (64, 64, 64), seed=1) == [(slice(0, 9),) * 3]
    volume = np.arange(4 * 6 * 7).reshape(4, 6, 7)
    assert block_means(volume, (2, 3, 2)).shape == (2, 2, 3)
    assert block_means(volume, (2, 3, 2))[0, 0, 0] == volume[:2, :3, :2].mean()
    small, factors = shrunk(np.ones((10, 30, 30), np.uint8), (1, 0.3, 0.3))
    assert small.shape == (10, 9, 9)
    np.testing.assert_allclose(factors, (1, 0.3, 0.3))


# The match


@pytest.mark.parametrize("scale", [(1.0, 0.75, 0.75), pytest.param((2.0, 1.0, 1.0), marks=pytest.mark.long)])
def test_the_factor_between_x_and_y_is_found(pair: Pair, scale: tuple[float, float, float]) -> None:
    match = match_volumes(pair["imageX"], pair["labelX"], resized(pair["imageY"], scale))
    np.testing.assert_allclose(match.scale_y, 1 / np.array(scale), rtol=0.1)
    assert match.scale_x == (1, 1, 1)
    assert (match.x.bright, match.y.bright, match.y.sizes.source) == (True, True, "image")


def test_voxel_sizes_go_before_the_image_and_expansion_is_told_from_them(pair: Pair) -> None:
    match = match_volumes(pair["imageX"], pair["labelX"], pair["imageY"], (2, 1, 1), (2, 1, 0.5))
    assert match.y.sizes.source == "voxel sizes"
    assert match.scale_y == (1, 1, pytest.approx(0.5, rel=0.05))
    # an expanded sample with the voxel size that the microscope had: four times too many voxels are expected
    match = match_volumes(pair["imageX"], pair["labelX"], pair["imageY"], (2, 1, 1), (0.5, 0.25, 0.25))
    assert any("An expanded sample? Then give --expansion_y" in text for text in match.warnings)


def test_dark_objects_are_measured_and_said(pair: Pair) -> None:
    match = match_volumes(pair["imageX"], pair["labelX"], 255 - pair["imageY"])
    assert (match.x.bright, match.y.bright) == (True, False)
    assert any("bright in X and dark in Y" in text and "correlation" in text for text in match.warnings)
    assert match.scale_y == pytest.approx((1, 1, 1), rel=0.12)


@pytest.mark.parametrize(
    ("z", "size"),
    [((10.4, 7.9), 9.06), ((20.0, 15.0), np.nan), ((10.4, 4.9), np.nan), ((30.0, 40.0), 34.6)],
    ids=["both smaller", "about X's size", "one twice the other", "both larger"],
)
def test_two_opinions_far_from_the_size_of_x_are_better_than_that_size(z: tuple[float, float], size: float) -> None:
    """Along z the image of Y gives two sizes, and X has 19: a stack that is left at 1 would be half as deep."""
    grey = (np.zeros(1), np.zeros(1))
    seen = ImageSize(np.array([z[0], 20.0]), np.array([z[1], 20.0]), 50, 0.3, grey)
    found = _sizes_of_y(Sizes((19.0, 20.0, 20.0), "labels", 54), seen, None, None)
    np.testing.assert_allclose(found.diameters, (size, 20.0, 20.0), rtol=0.01)
    shapes = Shapes((19.0, 20.0, 20.0), np.ones(2), np.ones(2), 54)
    (said,) = _size_warnings(shapes, found, seen)
    assert ("Left at 1" in said) is bool(np.isnan(size))


@pytest.mark.parametrize("kind", ["flat", "noise"])
def test_an_image_that_says_nothing_leaves_the_scale_at_1(pair: Pair, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (32, 64, 64)).astype(np.uint8)
    match = match_volumes(pair["imageX"], pair["labelX"], noise if kind == "noise" else noise * 0)
    assert match.scale_y == (1, 1, 1)
    assert any(text.startswith("cannot tell the size of Y's objects") for text in match.warnings)
    assert "# Warning: cannot tell the size" in overlay_text(match)
    assert "?, ?, ?" in table_text(match)


def test_too_few_objects_are_not_taken_for_an_answer(pair: Pair) -> None:
    one = np.where(ellipsoid((40, 96, 96), (6, 12, 12)), 200, 20)
    image = np.clip(one + np.random.default_rng(0).normal(0, 2, one.shape), 0, 255).astype(np.uint8)
    match = match_volumes(pair["imageX"], pair["labelX"], image)
    assert match.scale_y == (1, 1, 1)
    assert any(text.startswith("cannot tell") for text in match.warnings)


def test_which_domain_is_scaled() -> None:
    x, y = (10.0, 20.0, 20.5), (5.0, 40.0, 40.0)
    assert scales(x, y) == [(1, 1, 1), (2, pytest.approx(0.506, abs=1e-3), pytest.approx(0.506, abs=1e-3))]
    assert scales(x, y, "y")[1] == (1, 1, 1)
    assert scales(x, y, "y")[0] == pytest.approx((0.5, 1.975, 1.975), abs=1e-3)
    to_8 = scales(x, y, diameter=8)
    assert to_8[0] == pytest.approx((0.8, 0.395, 0.395), abs=1e-3)
    assert to_8[1] == pytest.approx((1.6, 0.2, 0.2))
    assert scales(x, (np.nan, 41, 41))[1][0] == 1, "an axis that is not known is left alone"
    assert scales((10, 20, 20), (10.3, 20, 25))[1] == (1, 1, 0.8), "a few per cent are left, a tenth is not"


@pytest.mark.parametrize(("option", "words"), [({"reference": "z"}, "expected x or y"), ({"diameter": 1}, "2 or more")])
def test_options_without_a_meaning_are_refused(pair: Pair, option: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        match_volumes(pair["imageX"], pair["labelX"], pair["imageY"], **option)


def test_the_intensity_window_keeps_the_tones_of_rare_objects() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(50, 5, (32, 64, 64))
    image[:2, :16, :16] = rng.normal(150, 5, (2, 16, 16))  # 0.4 % of the volume
    mask = image > 100
    low, high = intensity_window(image, (image[mask], image[~mask]))
    assert np.percentile(image, 99.5) < 100 < np.percentile(image, high)
    assert 0 <= low < 2
    assert intensity_window(image, None) == (0.5, 99.5)


def test_polarity_from_labels_needs_contrast() -> None:
    rng = np.random.default_rng(0)
    inside, around = rng.normal(0, 1, 5000), rng.normal(0, 1, 5000)
    assert [label_polarity((inside + shift, around)) for shift in (1, -1, 0)] == [True, False, None]


# Density


def test_the_share_of_objects_is_found_without_labels() -> None:
    pair = make_pair((40, 112, 112), seed=5)
    assert label_share(pair["labelX"]) == pytest.approx((pair["labelX"] > 0).mean())
    truth = (pair["labelY"] > 0).mean()
    assert image_share(pair["imageY"], (10, 20, 20), bright=True) == pytest.approx(truth, rel=0.5)
    inverted = 255 - pair["imageY"]
    assert image_share(inverted, (10, 20, 20), bright=False) == pytest.approx(truth, rel=0.5)


@pytest.mark.parametrize(
    ("x", "y", "wanted"),
    [(0.59, 0.22, (0.02, 0.42)), (0.23, 0.56, (0.36, 0.76)), (0.2, 0.15, None), (0.6, 0.1, (0.0, 0.3)), (0.2, 0, None)],
)
def test_patches_are_brought_to_the_share_of_y_where_x_is_unlike_it(x: float, y: float, wanted: Any) -> None:
    assert wanted_shares(x, y) == wanted


def test_a_denser_source_is_thinned_by_the_overlay(pair: Pair) -> None:
    match = match_volumes(pair["imageX"], pair["labelX"], pair["imageY"])
    dense = replace(match, x=replace(match.x, share=0.6), density=wanted_shares(0.6, 0.2))
    assert "density" not in yaml.safe_load(overlay_text(match))
    assert yaml.safe_load(overlay_text(dense))["density"] == {"prob": 0.9, "share": [0.0, 0.4], "haze": 0.0}


def test_the_share_of_y_is_written_where_it_is_known(pair: Pair) -> None:
    match = match_volumes(pair["imageX"], pair["labelX"], pair["imageY"])
    for share, written in ((0.6, [0.4, 0.8]), (0.1, [0.0, 0.3]), (0.9, [0.7, 1.0]), (0.0, None), (np.nan, None)):
        overlay = yaml.safe_load(overlay_text(replace(match, y=replace(match.y, share=share))))
        assert overlay.get("share_y") == written


# The command


@pytest.fixture
def files(pair: Pair, tmp_path: Path) -> dict[str, str]:
    for name in ("imageX", "labelX"):
        write_volume(tmp_path / f"{name}.tif", pair[name])
    write_volume(tmp_path / "imageY.tif", resized(pair["imageY"], (1, 0.5, 0.5)))
    names = {"image_x": "imageX.tif", "label_x": "labelX.tif", "image_y": "imageY.tif"}
    return {**{key: str(tmp_path / name) for key, name in names.items()}, "out": str(tmp_path / "new" / "match.yaml")}


def test_the_command_writes_an_overlay_of_both_bases_and_a_picture(
    files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(**files)
    overlay = yaml.safe_load(Path(files["out"]).read_text())
    assert overlay["scale_x"] == [1.0, 0.5, 0.5]
    assert overlay["scale_y"] == overlay["scale"] == pytest.approx([1, 1, 1], rel=0.12)
    assert overlay["intensity_percentiles"] == overlay["intensity_percentiles_y"]
    both = [yaml.safe_load((BUNDLE / "configs" / f"{base}.yaml").read_text()) for base in ("train", "inference")]
    assert overlay.pop("overlay_on") == ["train", "inference"]
    assert set(overlay) <= {*both[0], *both[1]}
    for base in ("train", "inference"):
        parser = ConfigParser(ConfigParser.load_config_files([str(BUNDLE / "configs" / f"{base}.yaml"), files["out"]]))
        taken = parser.get_parsed_content("scale_y" if base == "train" else "scale")
        assert taken == overlay["scale"]
    assert imread(str(Path(files["out"]).with_suffix(".png"))).std() > 0.05
    printed = capsys.readouterr().out
    assert "diameter z, y, x (voxels)" in printed
    assert "objects are                 bright" in printed


def test_the_command_says_what_is_wrong_in_one_line(files: dict[str, str]) -> None:
    command = [sys.executable, "-m", "scripts.match_domains", *(f"--{key}={value}" for key, value in files.items())]
    done = subprocess.run([*command, "--expansion_y=0"], cwd=BUNDLE, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip() == "error: expansion_y is 0; expected a number above 0."
    with pytest.raises(InputError, match=r"voxel_size_x is \(1, 2\); expected three micrometres"):
        main(**files, voxel_size_x=(1, 2))
    with pytest.raises(InputError, match="given as a label and as an image"):
        main(**{**files, "label_x": files["image_y"]})


def test_the_expansion_divides_the_voxel_size(files: dict[str, str]) -> None:
    main(**files, voxel_size_x=(2, 1, 1), voxel_size_y=(4, 4, 4), expansion_y=2.0)  # type: ignore[arg-type]
    assert yaml.safe_load(Path(files["out"]).read_text())["scale"] == pytest.approx([1, 1, 1], rel=0.03)


def test_voxel_sizes_of_which_one_cannot_be_right_are_rejected(files: dict[str, str], tmp_path: Path) -> None:
    write_volume(files["image_x"], read_volume(files["image_x"])[0], (0.5, 0.2, 0.2))
    image = read_volume(files["image_y"])[0]
    affine = np.zeros((4, 4))
    affine[(2, 1, 0, 3), (0, 1, 2, 3)] = (0.5, 0.2, 0.2, 1)
    write_volume(tmp_path / "itk.nii.gz", image, affine=affine, unit="mm")
    far = {**files, "image_y": str(tmp_path / "itk.nii.gz")}
    with pytest.raises(InputError) as caught:
        main(**far)
    said = str(caught.value)
    assert f"{files['image_x']} has voxels of 0.5 x 0.2 x 0.2 µm (z, y, x)" in said
    assert f"{far['image_y']} has voxels of 500 x 200 x 200 µm (z, y, x), stated in mm" in said
    assert "a factor of 1000, expected at most 20" in said
    assert not Path(files["out"]).exists()
    main(**far, voxel_size_y=(0.5, 0.2, 0.2))  # type: ignore[arg-type]
    assert yaml.safe_load(Path(files["out"]).read_text())["scale"] == [1.0, 0.5, 0.5]


def test_the_resolution_is_that_of_the_domain_that_keeps_it(files: dict[str, str]) -> None:
    main(**files, resolution=(1, 1, 1))  # type: ignore[arg-type]
    full = yaml.safe_load(Path(files["out"]).read_text())
    assert full["scale_x"] == [1.0, 1.0, 1.0]
    assert full["scale_y"] == pytest.approx([1, 2, 2], rel=0.12)
    main(**files, diameter=10)
    by_diameter = yaml.safe_load(Path(files["out"]).read_text())
    assert by_diameter["scale_y"][1] / by_diameter["scale_x"][1] == pytest.approx(2, rel=0.12)
    with pytest.raises(InputError, match="three factors"):
        main(**files, resolution=(1, 0))  # type: ignore[arg-type]


@pytest.mark.parametrize("base", ["train", "inference"])
def test_the_window_of_each_domain_reaches_its_transform(base: str) -> None:
    given = {"intensity_percentiles_x": [1, 90], "intensity_percentiles_y": [2, 80], "intensity_percentiles": [2, 80]}
    merged = {**yaml.safe_load((BUNDLE / "configs" / f"{base}.yaml").read_text()), **given}
    parser = ConfigParser(merged)
    if base == "train":
        windows = [unit.scale.percentiles for unit in map(parser.get_parsed_content, ("unit_x", "unit_y"))]
        assert windows == [(1, 90), (2, 80)]
    else:
        unit = parser.get_parsed_content("preprocessing").transforms[2]
        assert unit.scale.percentiles == (2, 80)


# The start of training


def test_training_warns_of_objects_of_another_size_and_names_the_ratio(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    source = [{"image": pair["imageX"][None].astype(np.float16), "label": pair["labelX"][None]}]
    with caplog.at_level(logging.INFO, logger="scripts"):
        warn_of_sizes(source, [{"image": pair["imageY"][None].astype(np.float16)}])
    assert caplog.messages == []
    warn_of_sizes(source, [{"image": resized(pair["imageY"], (1, 0.33, 0.33))[None].astype(np.float16)}])
    [message] = caplog.messages
    ratio = float(message.split("about ")[1].split(" times")[0])
    assert ratio == pytest.approx(3, rel=0.25)
    assert "along the plane" in message


def test_training_says_that_it_cannot_tell(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    source = [{"image": pair["imageX"][None], "label": pair["labelX"][None]}]
    with caplog.at_level(logging.INFO, logger="scripts"):
        warn_of_sizes(source, [{"image": np.zeros((1, 16, 32, 32))}])
    assert caplog.messages == ["cannot tell the size of Y's objects; expected a size like that of X's."]


def test_the_training_config_checks_the_sizes(
    run_here: Callable[..., Any], volumes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {"image_x": volumes / "imageX_0.tif", "label_x": volumes / "labelX_0.tif", "image_y": tmp_path / "y.tif"}
    image, _ = read_volume(volumes / "imageY.tif")
    write_volume(tmp_path / "y.tif", np.tile(resized(image, (1, 0.33, 0.33)), (1, 4, 4)))
    places = {"output_dir": tmp_path / "out", "model_path": tmp_path / "model.pt"}
    run_here("training", "train", **files, **places)
    assert any("times as large as those of Y along the plane" in text for text in caplog.messages)
    caplog.clear()
    run_here("training", "train", **files, **places, size_check="$None")
    assert not any("as large as those of Y" in text for text in caplog.messages)


def test_real_nuclei_in_the_plane(shared: Path) -> None:
    label, _ = read_volume(shared / "data" / "nucexm" / "v4_label.tif")
    image, _ = read_volume(shared / "data" / "nucexm" / "v4_image.tif")
    part = (slice(0, 48), slice(0, 120), slice(0, 120))
    shapes = shapes_of(label[part])
    match = match_volumes(image[part], label[part], resized(image[80:, 200:, 200:], (1, 0.5, 0.5)))
    assert shapes.count > 50
    assert match.scale_y[1] == pytest.approx(2, rel=0.15)
