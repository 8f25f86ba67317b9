"""Confidence of each instance of a volume: by blocks as of the whole, as files, and what is rejected."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import label
from scripts.errors import InputError
from scripts.judge import Perturbation
from scripts.judge import confidence as command
from scripts.judge.confidence import write_confidence
from scripts.judge.instance import confidence_of
from scripts.plan import Plan
from scripts.plan.file import read_plan
from scripts.volume_io import open_volume, read_volume, write_volume

SHADES = (255, 150, 210, 140)
"""Grey values of four cubes; on the scale from -1 to 1: 1, 0.18, 0.65 and 0.1."""


class Bright:
    """Stands in for a predictor: instances are connected voxels whose grey value exceeds 0."""

    network = None
    plan = Plan({})

    def part(self, key):
        values = {"intensity_percentiles": (0.0, 100.0), "intensity_gamma": 1.0, "inferer": self._maps, "device": "cpu"}
        return {**values, "maps_alone": lambda item: {"maps": item["pred"]}, "decode": self._decoded}[key]

    @staticmethod
    def _maps(volume, network):
        return (volume.clamp(-1, 1) * 127 + 127).byte()

    @staticmethod
    def _decoded(item):
        found = label(np.asarray(item["maps"][0]) > 127)[0]
        return {"maps": item["maps"], "instances": torch.from_numpy(found.astype(np.int32))[None]}


def darker(by):
    return Perturbation(f"darker by {by}", lambda volume, _: volume - by)


CHANGES = [darker(0.15), darker(0.3), darker(0.8), Perturbation("none")]


@pytest.fixture
def cubes(tmp_path: Path) -> Path:
    """A folder with Y.tif and Y_instances.tif, (12, 60, 64): four cubes with the ids 3, 5, 6 and 9."""
    image, instances = np.zeros((12, 60, 64), np.uint8), np.zeros((12, 60, 64), np.uint16)
    for shade, id_, y, x in zip(SHADES, (3, 5, 6, 9), (4, 26, 10, 44), (3, 27, 40, 50), strict=True):
        image[3:9, y : y + 10, x : x + 10], instances[3:9, y : y + 10, x : x + 10] = shade, id_
    write_volume(tmp_path / "Y.tif", image, (2.0, 1.0, 1.0))
    write_volume(tmp_path / "Y_instances.tif", instances)
    return tmp_path


@pytest.mark.parametrize("block", [(128, 256, 256), (6, 20, 20), (5, 7, 64)])
def test_confidence_is_how_often_an_instance_is_found_again_whatever_the_blocks(cubes: Path, block):
    image, instances = open_volume(cubes / "Y.tif"), open_volume(cubes / "Y_instances.tif")
    found = confidence_of(Bright(), image, instances, block, CHANGES)
    assert found.ids.tolist() == [3, 5, 6, 9]
    assert found.confidence.tolist() == [1, 0.5, 0.75, 0.25]


def test_a_volume_without_instances_has_an_empty_table(cubes: Path):
    write_volume(cubes / "Y_instances.tif", np.zeros((12, 60, 64), np.uint8))
    image, instances = open_volume(cubes / "Y.tif"), open_volume(cubes / "Y_instances.tif")
    assert not len(confidence_of(Bright(), image, instances, perturbations=CHANGES).ids)


@pytest.fixture
def given(cubes: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command, "predictor_of", lambda _: Bright())
    names = {"image": str(cubes / "Y.tif"), "instances": str(cubes / "Y_instances.tif"), "model": "model.pt"}
    return {**names, "output_dir": str(cubes / "out")}


def test_table_viewers_file_and_sure_instances(given, capsys):
    write_confidence(**given, min_confidence=0.9, output_ext=".h5")
    out = Path(given["output_dir"])
    rows = list(csv.DictReader((out / "Y_confidence.csv").open()))
    confidence = {int(row["id"]): float(row["confidence"]) for row in rows}
    assert [*confidence] == [3, 5, 6, 9] and confidence[3] == 1
    instances = read_volume(given["instances"])[0]
    shown, size = read_volume(out / "Y_confidence.h5")
    assert size == (2.0, 1.0, 1.0) and shown.dtype == np.uint8
    for id_, share in confidence.items():
        assert (shown[instances == id_] == max(1, round(100 * share))).all()
    assert (shown[instances == 0] == 0).all()
    sure = read_volume(out / "Y_sure.h5")[0]
    kept = [id_ for id_, share in confidence.items() if share >= 0.9]
    np.testing.assert_array_equal(sure, np.where(np.isin(instances, kept), instances, 0))
    assert read_plan(out / "Y_sure.h5") is not None
    assert f"4 instances, mean confidence {np.mean([*confidence.values()]):.2f}" in capsys.readouterr().out


def test_what_does_not_fit_is_one_line_before_any_work(given, cubes: Path):
    write_volume(cubes / "other.tif", np.ones((12, 60, 60), np.uint8))
    for changed, message in (
        ({"min_confidence": 80}, r"--min_confidence: found 80, expected a number from 0 to 1"),
        ({"instances": [given["instances"]] * 2}, r"--instances: found 2 volumes, expected 1"),
        ({"instances": str(cubes / "other.tif")}, r"other\.tif: shape \(12, 60, 60\) .* has \(12, 60, 64\)"),
        ({"instances": str(cubes / "nowhere.tif")}, r"nowhere\.tif"),
        ({"output_ext": ".png"}, r"\.png"),
    ):
        with pytest.raises(InputError, match=message):
            write_confidence(**{**given, **changed})
        assert not Path(given["output_dir"]).exists()


def test_a_result_does_not_replace_the_instances_that_it_is_of(given, cubes: Path):
    (cubes / "Y_instances.tif").rename(cubes / "Y_sure.tif")
    given |= {"instances": str(cubes / "Y_sure.tif"), "output_dir": str(cubes)}
    with pytest.raises(InputError, match=r"Y_sure\.tif: is given as instances and would be replaced"):
        write_confidence(**given, min_confidence=0.5)
