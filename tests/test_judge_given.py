"""Instances that other programs made, beside the candidates; and the picture of where candidates disagree."""

import json

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from scripts.command.bundle import BUNDLE
from scripts.errors import InputError
from scripts.judge.candidate import VolumeCrops
from scripts.judge.command import judge_files
from scripts.judge.evidence import Surroundings
from scripts.judge.given import agreement
from scripts.judge.picture import _captions, _crops, _sections, draw_candidates
from scripts.volume_io import write_volume

from test_judge_veto import TRUTH, image_of

SHIPPED = str(BUNDLE / "models" / "model.pt")
SIZE = (16, 64, 64)


@pytest.fixture
def folder(tmp_path):
    """Volumes a and b; of the program "good" the true instances with large ids, of "none" empty ones."""
    for name in "ab":
        write_volume(tmp_path / f"{name} y.tif", image_of(TRUTH), voxel_size=(1.0, 1.0, 1.0))
        large = np.where(TRUTH > 0, TRUTH.astype(np.uint64) + 2**40, 0).astype(np.uint64)
        write_volume(tmp_path / f"{name}.h5::good", large, voxel_size=(1.0, 1.0, 1.0))
        write_volume(tmp_path / f"{name} none.tif", np.zeros(TRUTH.shape, np.uint8), voxel_size=(1.0, 1.0, 1.0))
    return tmp_path


def test_instances_of_several_volumes_are_judged_without_a_score(folder, capsys):
    files = [str(folder / name) for name in ("a.h5::good", "b.h5::good", "a none.tif", "b none.tif")]
    judge_files(f"{folder}/a y.tif,{folder}/b y.tif", (), f"{folder}/judge.json", 1, SIZE, instances=",".join(files))
    found = json.loads((folder / "judge.json").read_text())
    assert [len(one["crops"]) for one in found["volumes"]] == [1, 1]
    good, none = found["candidates"]
    assert (good["name"], good["score"], good["vetoes"]) == (files[0], None, [])
    assert good["instances"] >= 20
    assert (none["name"], none["instances"], none["vetoes"]) == (files[2], 0, ["nothing is found"])
    assert found["chosen"] is None
    assert "no model was given" in found["reason"]
    assert "no score" in capsys.readouterr().out
    assert imread(folder / "judge.png").ndim == 3


def test_instances_beside_a_model_get_their_agreement_and_are_never_chosen(folder, capsys):
    given = str(folder / "a.h5::good")
    judge_files(str(folder / "a y.tif"), SHIPPED, f"{folder}/judge.json", 1, (16, 32, 32), given, f"{folder}/seen.png")
    found = json.loads((folder / "judge.json").read_text())
    assert found["chosen"] == SHIPPED
    assert found["candidates"][1]["agreement"].keys() == {SHIPPED}
    assert 0 <= found["candidates"][1]["agreement"][SHIPPED] <= 1
    assert f"no score, agrees with {SHIPPED} by" in capsys.readouterr().out
    assert (folder / "seen.png").exists()
    assert not (folder / "judge.png").exists()


def test_wrong_instances_are_one_line_before_any_work(folder):
    write_volume(folder / "small.tif", TRUTH[1:], voxel_size=(1.0, 1.0, 1.0))
    write_volume(folder / "map.tif", np.where(TRUTH > 0, 0.5, 0).astype(np.float32), voxel_size=(1.0, 1.0, 1.0))
    write_volume(folder / "negative.tif", TRUTH.astype(np.int16) - 1, voxel_size=(1.0, 1.0, 1.0))
    images = f"{folder}/a y.tif,{folder}/b y.tif"
    cases = [
        (images, "a none.tif", "found 1 files for 2 volumes"),
        (f"{folder}/a y.tif", "small.tif", r"small\.tif.*shape"),
        (f"{folder}/a y.tif", "map.tif", r"map\.tif: a label of type float32"),
        (f"{folder}/a y.tif", "negative.tif", r"negative\.tif: found the id -1"),
        (f"{folder}/a y.tif", "absent.tif", r"absent\.tif"),
    ]
    for image, name, words in cases:
        with pytest.raises(InputError, match=words):
            judge_files(image, SHIPPED, f"{folder}/judge.json", 1, SIZE, instances=str(folder / name))
    with pytest.raises(InputError, match=r"named twice"):
        judge_files(images, [SHIPPED, SHIPPED], f"{folder}/judge.json")
    assert not (folder / "judge.json").exists()


def test_volumes_of_other_formats_and_shapes_are_judged_together(folder):
    write_volume(folder / "c.h5::raw", image_of(TRUTH[:24, :80]).astype(np.float32), voxel_size=(1.0, 1.0, 1.0))
    images = [f"{folder}/a y.tif", f"{folder}/c.h5::raw"]
    judge_files(images, SHIPPED, f"{folder}/judge.json", 2, (16, 32, 32))
    found = json.loads((folder / "judge.json").read_text())
    assert [(one["image"], len(one["crops"])) for one in found["volumes"]] == [(name, 2) for name in images]
    assert [len(one["f1"]) for one in found["candidates"]] == [3]


def test_a_model_that_does_not_fit_is_reported_before_the_first_one_works(folder, capsys):
    torch.save({"other.weight": torch.zeros(3)}, folder / "other.pt")
    with pytest.raises(InputError, match=r"other\.pt: does not fit the network"):
        judge_files(f"{folder}/a y.tif", [SHIPPED, f"{folder}/other.pt"], f"{folder}/judge.json")
    assert capsys.readouterr().out == ""


def test_agreement_is_the_share_of_instances_that_both_have():
    both, one = np.array([[1, 1, 0, 2, 2]]), np.array([[7, 7, 0, 0, 0]])
    assert agreement([both], [both * 3]) == 1
    assert agreement([both, one], [one, one]) == pytest.approx(4 / 5)
    assert agreement([both * 0], [both * 0]) == 1
    assert agreement([both], [both * 0]) == 0


def volume_of(name, crops):
    boxes = [(slice(0, 8), slice(16 * n, 16 * n + 16), slice(0, 16)) for n in range(len(crops))]
    return VolumeCrops(name, boxes, [Surroundings(crop, False, (4.0, 4.0)) for crop in crops])


def test_sections_with_most_in_dispute_are_drawn_first(tmp_path):
    volume = volume_of("D/y.tif", [np.zeros((8, 16, 16), np.float32)] * 2)
    first = [np.zeros((8, 16, 16), int), np.zeros((8, 16, 16), int)]
    other = [crop.copy() for crop in first]
    other[0][5, :8] = 1
    other[1][2, :4] = 1
    chosen = _sections(_crops([volume], [first, other]))
    assert chosen[:2] == [(0, 5, 0.5), (1, 2, 0.25)]
    assert len(chosen) == 3
    draw_candidates(tmp_path / "seen.png", [volume], {"a/model.pt": first, "b/model.pt": other})
    assert imread(tmp_path / "seen.png").ndim == 3


def test_captions_are_as_short_as_they_differ():
    assert _captions(["D/source_only.pt", "D/model.pt"]) == ["source_only.pt", "model.pt"]
    assert _captions(["D/a/model.pt", "D/b/model.pt"]) == ["a/model.pt", "b/model.pt"]
