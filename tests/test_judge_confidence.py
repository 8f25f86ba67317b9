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
from scripts.judge.doubt import doubts, is_telling
from scripts.judge.instance import Confidence, block_voxels, confidence_of
from scripts.judge.place import Place, share_within
from scripts.plan import Plan
from scripts.plan.file import read_plan
from scripts.volume_io import open_volume, read_volume, write_volume

from test_judge_veto import balls, image_of

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


def test_instances_without_evidence_and_objects_without_an_instance_are_named_whatever_the_blocks(tmp_path: Path):
    """24 balls: one has no instance, and one instance lies where there is no ball, in one of two empty quarters."""
    truth = balls()
    truth[:, 48:, :48] = truth[:, 48:, 48:] * (truth[:, 48:, 48:] < 0)
    truth[:, 48:, 48:] = 0
    ids = np.unique(truth)[1:]
    lost = int(ids[5])
    instances = np.where(truth == lost, 0, truth)
    instances[14:22, 70:80, 20:30] = 99
    write_volume(tmp_path / "Y.tif", image_of(truth), (2.0, 0.5, 0.5))
    write_volume(tmp_path / "I.tif", instances.astype(np.uint16))
    volumes = open_volume(tmp_path / "Y.tif"), open_volume(tmp_path / "I.tif")
    for block in ((32, 96, 96), (32, 48, 48)):
        found = confidence_of(Bright(), *volumes, block)
        real = found.ids != 99
        assert (found.evidence[real] > 0.8).all()
        assert (found.confidence[real] > 0.7).all()
        invented, missing = doubts(found, (2.0, 0.5, 0.5))
        assert (invented["kind"], invented["id"], invented["confidence"], invented["evidence"]) == (
            "invented",
            "99",
            "0",
            "0",
        )
        assert [float(invented[axis]) for axis in "zyx"] == [17.5, 74.5, 24.5]
        assert [float(invented[f"{axis}_um"]) for axis in "zyx"] == [35, 37.25, 12.25]
        assert missing["kind"] == "lost" and missing["id"] == "" and float(missing["confidence"]) == 1
        assert truth[tuple(int(missing[axis]) for axis in "zyx")] == lost


def found_with(evidence, lost=()):
    count = len(evidence)
    shares = np.r_[np.ones(count - 1), 0.0]
    return Confidence(np.arange(count), shares, np.array(evidence), np.zeros((count, 3)), np.ones(count, int), lost)


def test_where_the_image_does_not_tell_objects_apart_perturbations_alone_name_places():
    places = [Place((1, 2, 3), 50, share, 1.0) for share in (1 / 3, 2 / 3)]
    hazy, clear = found_with([0.1] * 19 + [0.9], places), found_with([0.9] * 20, places)
    assert not is_telling(hazy) and is_telling(clear)
    assert [row["kind"] for row in doubts(hazy)] == ["invented", "lost"]
    assert [row["kind"] for row in doubts(clear)] == ["lost", "lost"]
    unknown = found_with([np.nan] * 20)
    assert not is_telling(unknown)
    assert [(row["id"], row["evidence"], row["z_um"]) for row in doubts(unknown)] == [("19", "", "")]


def test_the_share_within_a_mask_is_nan_for_what_is_not_there():
    labels, mask = np.array([0, 3, 3, 7, 7, 7]), np.array([1, 1, 0, 0, 0, 0], bool)
    np.testing.assert_array_equal(share_within(labels, mask, np.array([3, 5, 7, 9])), [0.5, np.nan, 0, np.nan])
    assert not len(share_within(labels, mask, np.zeros(0, int)))


def test_blocks_are_alike_in_size_and_no_larger_than_asked_for():
    assert block_voxels((128, 320, 320)) == 128 * 320 * 320
    assert block_voxels((128, 600, 320)) == 128 * (300 + 24 * 2) * 320


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
    assert [*rows[0]] == ["id", "confidence", "evidence"]
    assert (out / "Y_doubts.csv").read_text().startswith("kind,id,z,y,x,z_um,y_um,x_um,voxels,confidence,evidence")
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
        ({"voxel_size": [2, 1]}, r"--voxel_size: found \[2, 1\], expected three positive micrometres"),
    ):
        with pytest.raises(InputError, match=message):
            write_confidence(**{**given, **changed})
        assert not Path(given["output_dir"]).exists()


def test_a_result_does_not_replace_the_instances_that_it_is_of(given, cubes: Path):
    (cubes / "Y_instances.tif").rename(cubes / "Y_sure.tif")
    given |= {"instances": str(cubes / "Y_sure.tif"), "output_dir": str(cubes)}
    with pytest.raises(InputError, match=r"Y_sure\.tif: is given as instances and would be replaced"):
        write_confidence(**given, min_confidence=0.5)
