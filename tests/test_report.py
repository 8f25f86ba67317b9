"""The pictures: what is on them, that neighbours differ in colour, and that only slices of volumes are read."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import h5py
import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure
from scripts import transforms
from scripts.errors import InputError
from scripts.plan import METADATA, Plan
from scripts.report import augmentation as augmentation_picture
from scripts.report import colour_instances, cycle_panel, draw_report, read_losses, rows_of_scores
from scripts.report.colour import ALIKE, PALETTE, inherit_colours, paint
from scripts.report.command import report
from scripts.report.curve import running_mean
from scripts.report.page import Layout
from scripts.report.score import score_cells
from scripts.report.slices import cut_maps, cut_volume, densest_cuts
from scripts.report.style import save
from scripts.volume_io import write_volume


class OnlySlices:
    """A volume that refuses to be read whole."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape = array, array.shape

    def __getitem__(self, index: tuple) -> np.ndarray:
        picked = self.array[index]
        assert 1 in picked.shape[-3:] and len(picked) <= max(self.shape[-3:]), "more than a slice was read"
        return picked


@pytest.fixture
def image(balls: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 10, balls.shape)
    return np.clip((balls > 0) * 150 + 40 + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def maps(balls: np.ndarray) -> np.ndarray:
    foreground = (balls > 0).astype(np.uint8) * 255
    return np.stack([foreground, 255 - foreground, foreground // 2])


def size(path: Path) -> tuple[int, int]:
    height, width, _ = matplotlib.image.imread(path).shape
    return height, width


def test_the_page_grows_with_what_is_known(tmp_path, image, maps, balls):
    draw_report(tmp_path / "a.png", image)
    both = np.concatenate([255 - image[None], maps])
    draw_report(tmp_path / "b.png", image, both)
    draw_report(tmp_path / "c.png", image, both, balls, balls, {"CySGAN": {"ap50": 0.5}})
    heights, widths = zip(*(size(tmp_path / name) for name in ("a.png", "b.png", "c.png")), strict=True)
    assert list(widths) == sorted(set(widths)) and list(heights) == sorted(set(heights))


def test_volumes_are_read_by_the_slice(tmp_path, image, maps, balls):
    both = np.concatenate([image[None], maps])
    image, maps, both, labels = (OnlySlices(a) for a in (image, maps, both, balls))
    draw_report(tmp_path / "report.png", image, both, labels, labels)
    draw_report(tmp_path / "maps_only.png", image, maps)
    assert size(tmp_path / "report.png")


def test_four_channels_are_the_translated_image_and_the_maps(tmp_path, image, maps):
    draw_report(tmp_path / "a.png", image, np.concatenate([image[None], maps]))
    draw_report(tmp_path / "b.png", image, maps)
    assert size(tmp_path / "a.png")[1] > size(tmp_path / "b.png")[1]


def test_any_number_of_maps_can_be_drawn(tmp_path, image, maps):
    draw_report(tmp_path / "two.png", image, maps[:2], map_names=("foreground", "contour"))
    draw_report(tmp_path / "six.png", image, np.concatenate([maps, maps]))
    assert size(tmp_path / "six.png")[1] > size(tmp_path / "two.png")[1]


def test_no_instance_and_a_black_image_are_drawn(tmp_path, balls):
    draw_report(tmp_path / "empty.png", balls * 0, instances=balls * 0, truth=balls)
    assert size(tmp_path / "empty.png")


def test_proportions_follow_the_voxel_size():
    plane_z, plane_y, plane_x = Layout((0, 0, 0), (64, 100, 200), (2, 1, 0.5)).sizes
    assert plane_z[0] / plane_z[1] == pytest.approx(100 * 1 / (200 * 0.5))
    assert plane_y[0] / plane_y[1] == pytest.approx(64 * 2 / (200 * 0.5))
    assert plane_x[0] / plane_x[1] == pytest.approx(64 * 2 / (100 * 1))
    assert plane_y[0] == plane_x[0] and plane_z[1] == plane_y[1]  # one scale for all three


def test_cuts_go_where_most_foreground_is(balls, maps):
    labels = np.zeros((20, 100, 100), np.uint16)
    labels[6, 43, 64] = 1
    assert densest_cuts(labels, None, 0, labels.shape) == [6, 43, 64]
    assert densest_cuts(None, labels[None], 0, labels.shape) == [6, 43, 64]
    assert densest_cuts(None, None, 0, labels.shape) == [10, 50, 50]


def test_cuts_are_the_three_planes(maps):
    volume = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    at_z, at_y, at_x = cut_volume(volume, (1, 2, 3))
    np.testing.assert_array_equal(at_z, volume[1])
    np.testing.assert_array_equal(at_y, volume[:, 2])
    np.testing.assert_array_equal(at_x, volume[:, :, 3])
    np.testing.assert_allclose(cut_maps(maps, 1, (8, 0, 0))[0], maps[1, 8] / 255, rtol=1e-6)


def test_neighbours_never_share_a_colour():
    rng = np.random.default_rng(0)
    centres = rng.uniform(0, 128, (300, 2))
    grid = np.stack(np.mgrid[:128, :128], -1)
    cells = (((grid[:, :, None] - centres) ** 2).sum(-1)).argmin(-1) + 1  # every pixel belongs to a cell: all touch
    colours = colour_instances([cells])
    assert set(colours) == set(np.unique(cells).tolist())
    for a, b in ((cells[1:], cells[:-1]), (cells[:, 1:], cells[:, :-1])):
        for i, j in {*zip(a[a != b].tolist(), b[a != b].tolist(), strict=True)}:
            assert colours[i] != colours[j]
    assert len(set(colours.values())) == len(PALETTE)


@pytest.mark.parametrize(("one", "alike"), [(0, 2), (1, 8), (4, 7), (6, 9)])  # red and green; pink and teal; and so on
def test_neighbours_have_colours_that_the_colour_blind_tell_apart(one: int, alike: int):
    assert alike in ALIKE[one] and one in ALIKE[alike]
    plane = np.repeat([[1, 2, 3]], 5, axis=1)
    colours = colour_instances([plane], {2: one})
    assert colours[2] == one and not {colours[1], colours[3]} & ALIKE[one]


def test_a_small_gap_does_not_make_strangers_of_neighbours():
    plane = np.array([[1, 1, 0, 0, 2, 2, 0, 0, 0, 0, 3]])
    colours = colour_instances([plane], {1: 4, 2: 4, 3: 4})
    assert colours[1] != colours[2] and colours[3] == 4


def test_instances_wear_the_colour_of_what_they_cover():
    true = np.array([[5, 5, 5, 5, 0, 0, 9, 9, 9]], np.uint64)
    mine = np.array([[1, 1, 0, 2, 2, 0, 3, 3, 3]], np.int32)
    assert inherit_colours([mine], [true], {5: 7, 9: 2}) == {1: 7, 2: 7, 3: 2}
    colours = colour_instances([mine], {1: 7, 2: 7, 3: 2})
    assert colours[3] == 2 and 7 in (colours[1], colours[2]) and colours[1] != colours[2]


def test_paint_outlines_objects_and_leaves_the_background_grey():
    labels = np.pad(np.ones((5, 5), int), 2)
    picture = paint(np.full((9, 9), 0.5), labels, {1: 3}, pixels=9)
    np.testing.assert_allclose(picture[0, 0], 0.5)
    np.testing.assert_allclose(picture[2, 2], PALETTE[3])
    np.testing.assert_allclose(picture[4, 4], 0.6 * 0.5 + 0.4 * PALETTE[3])


def test_the_table_has_a_dash_for_what_is_not_known():
    cells = score_cells(
        {"CySGAN": {"ap50": 0.6123, "ap75": 0, "found": 1171, "present": 1200}, "other": {"f1_50": 1.0}}
    )
    assert cells[1:] == [["CySGAN", "0.612", "0.000", "–", "1,171 / 1,200"], ["other", "–", "–", "1.000", "–"]]
    assert score_cells(None) == []


def test_flat_metrics_become_rows():
    metrics = {"ap50": 0.6, "found": 3, "classical_ap50": 0.4, "minutes": 20.0}
    assert rows_of_scores(metrics) == {"CySGAN": {"ap50": 0.6, "found": 3}, "classical recipe": {"ap50": 0.4}}


@pytest.mark.parametrize("name", ["instances", "truth"])
def test_a_volume_of_another_shape_is_named_and_nothing_written(tmp_path, image, name):
    with pytest.raises(InputError, match=name):
        draw_report(tmp_path / "report.png", image, **{name: image[1:]})
    assert not list(tmp_path.iterdir())


def test_maps_and_images_of_another_shape_are_refused(tmp_path, image, maps):
    with pytest.raises(InputError, match="maps"):
        draw_report(tmp_path / "report.png", image, maps[:, 1:])
    with pytest.raises(InputError, match="image"):
        draw_report(tmp_path / "report.png", image[0])


def test_a_path_that_cannot_be_written_is_named(tmp_path, image):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        draw_report(tmp_path / "file" / "report.png", image)


# Losses


def test_losses_are_read_from_csv_without_gaps(tmp_path):
    (tmp_path / "losses.csv").write_text("iteration,loss,cycle_x,never\n1,3.0,,\n2,2.5,0.5,\n3,nan,0.25,\n")
    series = read_losses(tmp_path / "losses.csv")
    assert {name: (x.tolist(), y.tolist()) for name, (x, y) in series.items()} == {
        "loss": ([1, 2], [3, 2.5]),
        "cycle_x": ([2, 3], [0.5, 0.25]),
    }


@pytest.mark.parametrize(("text", "message"), [("step,loss\n1,2\n", "iteration"), ("iteration,loss\n1,two\n", "two")])
def test_other_tables_are_refused(tmp_path, text, message):
    (tmp_path / "losses.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_losses(tmp_path / "losses.csv")


def test_missing_losses_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.csv"):
        read_losses(tmp_path / "nowhere.csv")


@pytest.mark.parametrize("length", [1, 2, 39, 200])
def test_running_mean_keeps_constants_and_length(length):
    np.testing.assert_allclose(running_mean(np.full(length, 3.0)), np.full(length, 3.0))


def test_running_mean_is_a_centred_mean():
    values = np.random.default_rng(0).random(120)  # box of 3
    np.testing.assert_allclose(running_mean(values)[50], values[49:52].mean())
    np.testing.assert_allclose(running_mean(values)[0], values[:2].mean())


# Panels


def test_a_panel_is_an_image_for_tensorboard():
    volume = np.random.default_rng(0).random((6, 5, 32, 32), np.float32)
    panel = cycle_panel([("a|b|c|d|e|f", volume), ("Y → X → Y", volume[:3]), ("one", volume[0])])
    assert panel.dtype == np.float32 and panel.ndim == 3 and panel.shape[0] == 3
    assert panel.min() >= 0 and panel.max() <= 1
    assert panel.shape[1:] == (4 + 3 * (20 + 160), 4 + 6 * (160 + 4))


def test_a_panel_shows_the_middle_slices_pixel_for_pixel():
    volume = np.zeros((2, 3, 80, 160), np.float32)
    volume[0, 1], volume[1, 1] = 1, np.linspace(-1, 2, 160)
    panel = cycle_panel([("", volume)])
    np.testing.assert_allclose(panel[:, 20:100, 4:164], 1)
    np.testing.assert_allclose(panel[0, 60, 168:328], np.clip(volume[1, 1, 0], 0, 1), atol=2 / 255)


# Command


@pytest.fixture
def run_folder(tmp_path, image, maps, balls) -> Path:
    with h5py.File(tmp_path / "image.h5", "w") as file:
        file["raw"] = image
        file["label"] = balls
    with h5py.File(tmp_path / "maps.h5", "w") as file:
        file["main"] = np.concatenate([image[None], maps])
    (tmp_path / "metrics.json").write_text(json.dumps({"ap50": 0.6, "classical_ap50": 0.4}))
    (tmp_path / "losses.csv").write_text("iteration,loss\n1,2\n2,1\n")
    return tmp_path


def test_the_command_draws_the_picture(run_folder, monkeypatch):
    pytest.importorskip("scripts.volume_io")
    options = {"image": "image.h5", "image_dataset": "raw", "truth": "image.h5", "truth_dataset": "label"}
    options |= {"maps": "maps.h5", "metrics": "metrics.json", "out": "out/report.png"}
    monkeypatch.chdir(run_folder)
    monkeypatch.setattr(sys, "argv", ["report", *(f"--{key}={value}" for key, value in options.items())])
    runpy.run_module("scripts.report", run_name="__main__")
    assert size(run_folder / "out/report.png")
    with pytest.raises(InputError, match=r"^--losses train/losses\.csv: .*scripts\.report\.html --run train`"):
        report("image.h5", losses="train/losses.csv")


@pytest.mark.parametrize(
    ("names", "titles"),
    [
        (["image", "affinity 1", "affinity 2", "affinity 3"], ("affinity 1", "affinity 2", "affinity 3")),
        (["image", "foreground", "contour"], ("foreground", "contour")),
        (["foreground", "contour"], ("foreground", "contour")),
        ([], ("foreground", "contour", "distance")),
    ],
)
def test_the_command_titles_maps_as_their_file_says(run_folder, monkeypatch, image, names, titles):
    monkeypatch.chdir(run_folder)
    given = {}
    monkeypatch.setattr("scripts.report.command.draw_report", lambda *_, **options: given.update(options))
    for file in ("named.h5", "named.zarr"):
        write_volume(file, np.repeat(image[None], len(names) or 3, axis=0), channel_names=names)
        report("image.h5", image_dataset="raw", maps=file)
        assert tuple(given["map_names"]) == titles
    report("image.h5", image_dataset="raw", maps=file, map_names=("mine",))
    assert given["map_names"] == ("mine",)


def test_the_picture_says_how_its_maps_were_made(run_folder, monkeypatch, image, balls):
    monkeypatch.chdir(run_folder)
    maps = [{"_target_": f"scripts.representation.{name}"} for name in ("Foreground", "Affinity")]
    decoder = {"_target_": "scripts.watershed.BCDWatershed", "seed_distance": 0.65, "min_seed_size": 9, "ties": "heap"}
    keys = {"scale": [1.0, 0.5, 0.5], "flips": 2, "decoder": decoder}
    keys["representation"] = {"_target_": "scripts.representation.Representation", "maps": maps}
    write_volume("Y_maps.h5", np.repeat(image[None], 4, axis=0), attributes={METADATA: Plan(keys).to_text()})
    write_volume("Y_instances.tif", balls)
    given, line = {}, "seed_distance 0.65, min_seed_size 9, scale 1 x 0.5 x 0.5, flips 2"
    monkeypatch.setattr("scripts.report.command.draw_report", lambda *_, **options: given.update(options))
    report("image.h5", image_dataset="raw", maps="Y_maps.h5")
    assert given["made"] == line and given["map_names"] == ["foreground", "affinity 1", "affinity 2", "affinity 3"]
    report("image.h5", image_dataset="raw", instances="Y_instances.tif")
    assert given["made"] == line
    report("image.h5", image_dataset="raw", maps="maps.h5")
    assert given["made"] == ""


def test_a_line_on_how_it_was_made_never_leaves_the_picture(tmp_path, image, monkeypatch):
    drawn = []
    monkeypatch.setattr("scripts.report.page.write", lambda figure, *place, **style: drawn.append((figure, *place)))
    draw_report(tmp_path / "a.png", image, made="$seed_distance 0.5, " * 60)
    [(figure, left, _, line)] = [one for one in drawn if one[3].startswith("$seed")]
    assert line.endswith(" …") and left + len(line) / 15 < figure.get_size_inches()[0]


def test_the_command_says_what_is_wrong_in_one_line(run_folder, monkeypatch):
    pytest.importorskip("scripts.volume_io")
    monkeypatch.chdir(run_folder)
    monkeypatch.setattr(sys, "argv", ["report", "--image=image.h5", "--image_dataset=raw", "--maps=losses.csv"])
    with pytest.raises(SystemExit, match=r"error: losses\.csv: extension '\.csv'; expected that of a volume"):
        runpy.run_module("scripts.report", run_name="__main__")
    assert not (run_folder / "report.png").exists()


def test_maps_without_a_dataset_and_broken_metrics_are_named(run_folder, monkeypatch):
    pytest.importorskip("scripts.volume_io")
    monkeypatch.chdir(run_folder)
    with pytest.raises(InputError, match=r"which dataset\? It has: label .* raw .*Name one that is 4D"):
        report("image.h5", image_dataset="raw", maps="image.h5")
    with pytest.raises(InputError, match=r"losses\.csv: cannot be read as JSON"):
        report("image.h5", image_dataset="raw", metrics="losses.csv")
    Path("list.json").write_text("[1]")
    with pytest.raises(InputError, match=r"list\.json: expected an object of scores"):
        report("image.h5", image_dataset="raw", metrics="list.json")


def test_the_picture_of_augmentations_has_a_row_for_each(tmp_path, monkeypatch):
    monkeypatch.setattr(augmentation_picture, "TRIALS", 20)
    augmentation_picture.draw_augmentations(str(tmp_path / "new" / "picture.png"))
    picture = matplotlib.image.imread(tmp_path / "new" / "picture.png")
    step = augmentation_picture.SIDE + augmentation_picture.GAP
    assert picture.shape[0] == augmentation_picture.HEAD + len(augmentation_picture.ROWS) * step
    left = augmentation_picture.CAPTION
    for row in range(len(augmentation_picture.ROWS)):
        top = augmentation_picture.HEAD + row * step
        before, after = (picture[top : top + 100, start : start + 100, :3] for start in (left, left + 2 * step + 8))
        assert before.std() > 0.05
        assert not np.array_equal(before, after)


def test_every_augmentation_of_ours_is_in_the_picture():
    named = {name for name, _, _ in augmentation_picture.ROWS}
    ours = {name for name in transforms.__all__ if name.startswith("Rand") and not name.endswith("d")}
    assert named == ours - {"RandDensity"}  # off by default


def test_a_dollar_in_a_name_is_drawn_as_it_is(tmp_path: Path) -> None:
    r"""Matplotlib takes $…$ for a formula, and fails on one such as $\5$."""
    figure = Figure()
    axes = figure.add_subplot(title=r"cost$\5$.tif")
    axes.plot([0, 1], label=r"$\bad$")
    axes.legend()
    save(figure, tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 0
