"""Known ways to fail are named, and a right result is not vetoed."""

import numpy as np
import pytest
from scripts.classical import classical_foreground
from scripts.errors import InputError
from scripts.judge.crop import SIZE, affordable, chosen_crops
from scripts.judge.evidence import Surroundings, whole_image
from scripts.judge.shape import solidity
from scripts.judge.veto import vetoes
from scripts.judge.volume import volume_crops
from scripts.volume_io import ChunkedVolume, read_volume, write_volume
from skimage.measure import label as components

SHAPE = (32, 96, 96)


def balls(shape=SHAPE, apart=16, radius=5.0):
    """Labels of balls on a grid."""
    places = np.stack(np.meshgrid(*[np.arange(side) for side in shape], indexing="ij"))
    nearest = np.minimum(places // apart * apart + apart // 2, np.array(shape).reshape(3, 1, 1, 1) - 1)
    mask = ((places - nearest) ** 2).sum(axis=0) <= radius**2
    return components(mask).astype(np.int32)


def image_of(labels, bright=True):
    grey = np.where(labels > 0, 160.0, 60.0) + np.random.default_rng(0).normal(0, 12, labels.shape)
    return np.clip(grey if bright else 255 - grey, 0, 255).astype(np.uint8)


TRUTH = balls()
BOX = tuple(slice(0, side) for side in SHAPE)


@pytest.fixture(scope="module", params=[True, False], ids=["bright", "dark"])
def seen(request):
    return whole_image(image_of(TRUTH, request.param), [BOX])


def test_the_truth_is_not_vetoed(seen):
    assert vetoes([TRUTH], seen) == []


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (np.zeros_like(TRUTH), "nothing is found"),
        ((TRUTH > 0).astype(np.int32), "only 1 instances"),
        (np.where(TRUTH <= 5, TRUTH, 0), "only 5 instances"),
        (np.where(TRUTH == 0, 1, TRUTH + 1), "one instance holds"),
        (np.where(TRUTH == 0, 1 + np.arange(SHAPE[2]) // 8, 0), "than what is around them"),
        (np.where(TRUTH % 4 == 1, TRUTH, 0), "instances fill"),
        (np.where(TRUTH == 0, 1 + np.arange(SHAPE[2]) // 8, 0), "stands out in the image"),
    ],
    ids=["empty", "one instance", "few", "background is one", "swapped", "a quarter", "no evidence"],
)
def test_a_known_way_to_fail_is_named(seen, result, words):
    assert words in "; ".join(vetoes([result], seen))


def test_a_copy_of_the_otsu_mask_is_no_reason_for_a_veto_where_it_parts_the_objects(seen):
    copy = components(classical_foreground(seen[0].crop, (1, 1, 1), background=10))
    assert vetoes([copy], seen) == []


def test_a_volume_without_objects_has_no_evidence_for_what_is_found_in_it():
    noise = np.random.default_rng(1).normal(100, 10, SHAPE).astype(np.uint8)
    assert vetoes([TRUTH], whole_image(noise, [BOX])) == ["instances are as bright as what is around them"]


def test_where_the_polarity_is_unknown_the_image_vetoes_nothing():
    seen = Surroundings((TRUTH == 0).astype(np.float32), None, (10.0, 10.0))
    assert vetoes([TRUTH], [seen]) == []


def test_volumes_of_both_polarities_are_judged_each_by_its_own():
    both = [whole_image(image_of(TRUTH, bright), [BOX])[0] for bright in (True, False)]
    assert vetoes([TRUTH, TRUTH], both) == []
    swapped = np.where(TRUTH == 0, 1 + np.arange(SHAPE[2]) // 8, 0)
    assert "instances are brighter than what is around them" in "; ".join(vetoes([TRUTH, swapped], both))


def test_a_volume_in_which_nothing_is_found_says_nothing_of_another():
    seen = [Surroundings((TRUTH > 0).astype(np.float32), bright, (10.0, 10.0)) for bright in (True, None)]
    assert vetoes([TRUTH, np.zeros_like(TRUTH)], seen) == []


def test_a_volume_of_unknown_polarity_does_not_hide_what_another_says(seen):
    unknown = Surroundings((TRUTH > 0).astype(np.float32), None, (10.0, 10.0))
    quarter = np.where(TRUTH % 4 == 1, TRUTH, 0)
    assert "instances fill" in "; ".join(vetoes([quarter, quarter], [unknown, *seen]))


@pytest.mark.parametrize("name", ["1135_mini.h5", "1136_mini.h5"])
def test_what_people_drew_in_a_real_volume_is_not_vetoed_even_in_haze(name, shared):
    path = shared / "data" / "gonuclear" / name
    drawn = read_volume(f"{path}::label")[0]
    found = whole_image(read_volume(f"{path}::raw")[0], [tuple(slice(0, side) for side in drawn.shape)])
    assert vetoes([drawn], found) == []
    swapped = np.where(drawn == 0, 1 + np.arange(drawn.shape[2]) // 8, 0)
    assert "instances are darker" in vetoes([swapped], found)[0]


def test_solidity_does_not_depend_on_the_voxel_size():
    assert solidity(np.ones((4, 5, 6), int)) == pytest.approx(1)
    assert solidity(np.repeat(TRUTH, 2, axis=0)) == pytest.approx(solidity(TRUTH))
    assert np.isnan(solidity(np.eye(9, dtype=int)[None]))


def test_instances_of_two_objects_each_are_far_less_solid_than_labels(seen):
    pairs = np.where(TRUTH > 0, (TRUTH + 1) // 2, 0)
    assert vetoes([TRUTH], seen, expected=solidity(TRUTH)) == []
    assert "of their convex hulls" in "; ".join(vetoes([pairs], seen, expected=solidity(TRUTH)))


def test_crops_are_where_there_is_contrast_and_do_not_overlap():
    image = np.full((16, 64, 64), 100, np.uint8)
    image[:, 32:, :32] = image_of(TRUTH)[:16, :32, :32]
    assert chosen_crops(image, (16, 32, 32), 1) == [(slice(0, 16), slice(32, 64), slice(0, 32))]
    every = chosen_crops(image, (16, 32, 32), 9)
    covered = np.zeros(image.shape, int)
    for box in every:
        covered[box] += 1
    assert len(every) == 4
    assert (covered == 1).all()


def test_no_network_sees_more_of_a_crop_than_of_one_that_it_halves_in_plane():
    assert affordable([]) == affordable([(1, 0.5, 0.5), (0.5, 0.4, 0.4)]) == SIZE
    enlarged = affordable([(1, 0.5, 0.5), (2, 1, 1)])
    assert enlarged == (32, 96, 96)
    assert np.prod(enlarged) * 2 == np.prod(SIZE) / 4


def test_a_side_shorter_than_a_crop_is_taken_whole():
    assert chosen_crops(np.zeros((8, 40, 20), np.uint8), (64, 32, 32), 3) == [
        (slice(0, 8), slice(4, 36), slice(0, 20)),
    ]


@pytest.mark.parametrize("name", ["y.tif", "y.h5", "y.ome.zarr"])
def test_a_file_is_looked_at_part_by_part_as_the_whole_is(name, tmp_path, monkeypatch):
    image = image_of(balls((40, 120, 200)))
    write_volume(tmp_path / name, image)
    boxes = chosen_crops(image, (16, 48, 48), 2)
    expected = whole_image(image, boxes)
    monkeypatch.setattr(ChunkedVolume, "whole", lambda *_: pytest.fail("read as a whole"))
    found = volume_crops(str(tmp_path / name), (16, 48, 48), 2)
    assert found.boxes == boxes
    for one, other in zip(found.seen, expected, strict=True):
        np.testing.assert_array_equal(one.crop, other.crop)
        assert (one.bright, one.diameters) == (other.bright, other.diameters)


def test_a_volume_that_cannot_be_judged_is_named(tmp_path):
    flat, holed = np.full((8, 16, 16), 7, np.uint8), np.ones((8, 16, 16), np.float32)
    holed[2, 3, 4], holed[0, 0, 0] = np.nan, 0
    for name, image, message in (("flat.tif", flat, "every voxel is 7"), ("holed.tif", holed, "1 NaN or infinite")):
        write_volume(tmp_path / name, image)
        with pytest.raises(InputError, match=message):
            volume_crops(str(tmp_path / name))
