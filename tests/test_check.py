"""The check of configurations: problems are found, each with file, key, found and expected; what is shipped passes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.utils.module import locate
from scripts.check import Findings, check_config, refuse, rule
from scripts.check.command import check
from scripts.check.fit import DECODERS
from scripts.check.merge import Merged
from scripts.check.overlay import overlay_files
from scripts.check.rule import RULES, rule_of
from scripts.check.signature import arguments
from scripts.check.source import base_of, read_source
from scripts.check.tree import has, references, walk
from scripts.check.value import MAPS, UNKNOWN, Values
from scripts.command.start import expected_error
from scripts.errors import InputError
from scripts.transforms import scaling
from scripts.volume_io import ChunkedVolume, write_volume

from warm import cold

Run = Callable[..., Any]
BUNDLE = Path(__file__).resolve().parents[1] / "bundle"
CONFIGS = BUNDLE / "configs"
BASES = ("train", "inference")
OVERLAYS = [path.stem for path in sorted(CONFIGS.glob("*.yaml")) if path.stem not in BASES]
SHIPPED = [(base, name) for name in OVERLAYS for base in read_source(CONFIGS / f"{name}.yaml").overlay_on]


def config(name: str) -> Path:
    return CONFIGS / f"{name}.yaml"


@pytest.fixture
def overlay(tmp_path: Path) -> Callable[[str], Path]:
    """Write an overlay."""

    def write(text: str, name: str = "mine") -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        return path

    return write


def problems(files: list[str | Path], run_id: str | None = None, **overrides: Any) -> list[str]:
    """What is wrong, volumes left aside; files by name are those of the bundle."""
    paths = [config(file) if isinstance(file, str) else file for file in files]
    return [str(problem) for problem in check_config(paths, overrides, run_id, volumes=False).problems]


# ---- what is shipped -------------------------------------------------------------------------------------------------
def test_every_overlay_says_what_it_is_laid_over() -> None:
    assert {name for _, name in SHIPPED} == set(OVERLAYS)


@pytest.mark.parametrize("base", BASES)
def test_a_base_passes(base: str) -> None:
    assert problems([base]) == []


@pytest.mark.parametrize(("base", "name"), SHIPPED)
def test_an_overlay_passes_on_each_of_its_bases(base: str, name: str) -> None:
    overrides = {"label_y": "labelY.tif"} if name == "oracle" else {}
    assert problems([base, name], **overrides) == []


@pytest.mark.parametrize(("base", "name"), SHIPPED)
def test_an_overlay_passes_before_and_after_the_published_setting(base: str, name: str) -> None:
    if name != "published":
        overrides = {"label_y": "labelY.tif"} if name == "oracle" else {}
        assert problems([base, "published", name], **overrides) == []
        if not read_source(config(name)).last:
            assert problems([base, name, "published"], **overrides) == []


@pytest.mark.parametrize("name", BASES)
def test_a_merge_is_that_of_monai(name: str) -> None:
    files = [config(name), *(config(overlay) for base, overlay in SHIPPED if base == name and overlay != "blockwise")]
    merged = Merged([read_source(file) for file in files], {})
    assert merged.config == ConfigParser.load_config_files([str(file) for file in files])


def test_every_rule_is_of_a_key_that_there_is() -> None:
    known = [key for path in CONFIGS.glob("*.yaml") for key, _ in walk(read_source(path).content)]
    assert [key for key in RULES if not any(rule_of(name) is RULES[key] for name in known)] == []


@pytest.mark.parametrize("base", BASES)
def test_every_default_that_can_be_told_follows_its_rule(base: str) -> None:
    content = read_source(config(base)).content
    values = Values(content)
    checked = [key for key in RULES if has(content, key) and values[key] is not UNKNOWN]
    assert len(checked) > 20
    assert [key for key in checked if not RULES[key].holds(values[key])] == []


def test_tables_of_maps_and_decoders_are_those_of_the_classes() -> None:
    for target, (name, channels) in MAPS.items():
        one = locate(target)()
        assert (one.name, one.channels) == (name, channels)
    assert {target: tuple(locate(target).map_names) for target in DECODERS} == DECODERS


# ---- keys ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("learning_rte", "learning_rate"),
        ("density#prbo", "density::prob"),
        ("network_def#filter", "filters"),
        ("filters", "network_def::filters"),
        ("loss_weights#cycle", "loss_weights::cycle_x"),
        ("decoder#seed_contuor", "seed_contour"),
        ("image_discriminator_def#stride", "strides"),
        ("scael_x", "scale_x"),
    ],
)
def test_an_unknown_key_of_the_command_line_is_told_with_the_one_meant(key: str, meant: str) -> None:
    [problem] = problems(["train"], **{key: 0.5})
    assert problem.startswith(f"command line: {key.replace('#', '::')}: found ")
    assert "Did you mean " in problem and meant in problem.partition("Did you mean ")[2]


def test_an_unknown_key_of_a_file_is_told_with_file_and_line(overlay: Callable[..., Path]) -> None:
    path = overlay("# mine\nlearning_rate: 0.1\nbatch_sise: 3\ndensity::hase: 0.5\ndesnity::prob: 0.3\n")
    lines = problems(["train", path])
    places = {line.partition(": found")[0] for line in lines}
    assert places == {f"{path}:5: desnity::prob", f"{path}:4: density::hase", f"{path}:3: batch_sise"}


@pytest.mark.parametrize(
    "key", ["learning_rate::x", "betas::2", "nothing::a::b", "train::handlers::9", "+nothing", "+betas"]
)
def test_a_part_of_what_has_no_parts_is_told(key: str, overlay: Callable[..., Path]) -> None:
    path = overlay(f"{key}: 3\n")
    assert problems(["train", path])[0].startswith(f"{path}:1: {key}: found ")
    if not key.startswith("+"):
        assert problems(["train"], **{key: 3})[0].startswith(f"command line: {key}: found ")


@pytest.mark.parametrize("value", ["3", "text"])
def test_a_network_that_is_none_is_told(value: str, overlay: Callable[..., Path]) -> None:
    assert problems(["train", overlay(f"network_def: {value}\n")])


def test_what_is_given_is_not_changed_by_the_check() -> None:
    maps = [{"_target_": target} for target in MAPS]
    given = {"representation#maps": maps, "representation#maps#0#bce_weight": 2.0}
    check_config(config("train"), given, volumes=False)
    assert maps[0] == {"_target_": next(iter(MAPS))}


def test_a_new_key_that_something_refers_to_is_known(overlay: Callable[..., Path]) -> None:
    assert problems(["train", overlay("rate: 0.1\nlearning_rate: '@rate'\nbetas: $[0.5, 1 - @rate]\n")]) == []


def test_a_reference_to_nothing_is_told(overlay: Callable[..., Path]) -> None:
    path = overlay("learning_rate: $@discriminator_learning_rat * 2\n")
    [problem] = problems(["train", path])
    assert f"{path}:1: learning_rate: found @discriminator_learning_rat" in problem
    assert "Did you mean discriminator_learning_rate" in problem


def test_a_key_of_the_other_base_is_fine_in_an_overlay_on_both_and_not_on_the_command_line(
    overlay: Callable[..., Path],
) -> None:
    path = overlay("scale: [1, 1, 1]\nscale_y: [1, 1, 1]\n")
    assert problems(["inference", path]) == problems(["train", path]) == []
    [problem] = problems(["inference", path], scale_y=[1, 1, 1])
    assert problem.endswith("Did you mean scale?")


def test_what_an_overlay_has_made_idle_is_told_on_the_command_line() -> None:
    [problem] = problems(["train", "demo", "light_augmentation"], **{"augmentation#elastic": 0.0})
    assert "augmentation::elastic: found a key without effect" in problem
    assert problems(["train", "demo"], **{"augmentation#elastic": 0.0}) == []
    files = dict.fromkeys(("dataset_dir", "image_x", "label_x", "image_y"), "x")
    assert problems(["train"], **files) == []


def test_the_interval_of_validation_has_the_name_of_the_zoo_too() -> None:
    assert problems(["train", "demo"], val_interval=2) == []
    [problem] = problems(["train"], val_interval=2, validation_interval=3)
    assert "validation_interval: found a key without effect" in problem
    assert problems(["train"], val_interval=0) == [
        "command line: val_interval: found 0, expected a whole number, 1 or more."
    ]
    parser = ConfigParser()
    parser.read_config(str(CONFIGS / "train.yaml"))
    assert parser["train"]["validation"]["interval"] == "@val_interval"


def test_what_monai_does_with_none_and_plus_on_the_command_line_is_told(overlay: Callable[..., Path]) -> None:
    path = overlay("foreground_share: [0.1, 0.2]\n")
    [problem] = problems(["train", path], foreground_share=None)
    assert "Write --foreground_share '$None'" in problem
    assert problems(["train", path], foreground_share="$None") == []
    assert problems(["train"], label_y=None) == []
    assert "command line: +train#handlers: found a +" in problems(["train"], **{"+train#handlers": []})[0]


def test_keys_of_tracking_are_known_when_it_is_on() -> None:
    assert problems(["train"], experiment_name="a") != []
    assert check_config(config("train"), {"experiment_name": "a"}, tracking="mlflow", volumes=False).problems == []


def test_an_unknown_run_id_is_told(overlay: Callable[..., Path]) -> None:
    assert problems(["train"], run_id="training") == []
    assert "run id: found train, expected one of " in problems(["train"], run_id="train")[0]
    path = overlay("again: '@training'\n")
    assert problems(["train", path], run_id="again") == []
    assert problems(["inference", "evaluate"], run_id="evaluate")[0].endswith("Did you mean evaluating?")


# ---- files and their order -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["demo", "train"], "train.yaml after "),
        (["evaluate", "inference"], "inference.yaml after "),
        (["demo"], "expected configs/train.yaml before"),
        (["evaluate"], "expected configs/inference.yaml before"),
        (["train", "inference"], "expected one base"),
        (["inference", "demo"], "demo.yaml on inference.yaml, expected it on train.yaml"),
        (["train", "evaluate"], "evaluate.yaml on train.yaml, expected it on inference.yaml"),
        (["train", "blockwise"], "blockwise.yaml on train.yaml, expected it on inference.yaml"),
    ],
)
def test_a_wrong_order_is_told_once_and_the_rest_is_still_looked_at(files: list[str | Path], words: str) -> None:
    [problem] = problems(files)
    assert words in problem
    assert len(problems(files, overlpa=0.5)) == 2


def test_an_overlay_of_ones_own_on_the_wrong_base_is_told_by_its_keys(overlay: Callable[..., Path]) -> None:
    [problem] = problems(["inference", overlay("betas: [0.5, 0.9]\nlearning_rate: 0.1\n")])
    assert "mine.yaml on inference.yaml, expected it on train.yaml" in problem


def test_what_a_later_overlay_undoes_is_told(overlay: Callable[..., Path]) -> None:
    path = overlay("decoder::seed_foreground: 0.8\n")
    [problem] = problems(["inference", path, "target_bc"])
    assert f"{path}:1: decoder::seed_foreground: found it set, and undone by" in problem
    assert "target_bc.yaml" in problem
    assert problems(["inference", "target_bc", path]) == []
    added = overlay("+handlers:\n- {_target_: StatsHandler}\n", "added")
    replaced = overlay("handlers: []\n", "replaced")
    assert "handlers" in problems(["inference", added, replaced])[0]
    assert problems(["inference", replaced, added]) == []


def test_an_overlay_that_goes_after_all_others_may_undo_them(overlay: Callable[..., Path]) -> None:
    path = overlay("overlay_on: inference\noverlay_last: true\nnetwork_def: {_target_: torch.nn.Identity}\n")
    assert problems(["inference", "published", path]) == []
    path.write_text(path.read_text().replace("overlay_last: true\n", ""))
    assert "undone by" in problems(["inference", "published", path])[0]


def test_a_file_that_cannot_be_read_is_told(overlay: Callable[..., Path], tmp_path: Path) -> None:
    for text, words in (
        ("a: 1\nb: [", "cannot be read"),
        ("a: 1\nb: 2\na: 3\n", r"mine.yaml:3: a: found twice, first in line 1"),
        ("- a\n", "expected keys and values"),
        ("a:\n\tb: 1\n", r"mine\.yaml:2: cannot be read: .*Indent with spaces"),
    ):
        with pytest.raises(InputError, match=words):
            problems(["train", overlay(text)])
    with pytest.raises(InputError, match=r"none\.yaml: no such file"):
        problems(["train", tmp_path / "none.yaml"])
    with pytest.raises(InputError, match="found none"):
        problems([])


def test_a_file_that_is_not_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    text = "# two bytes:\nbatch_size: 1  # µm\n"
    for name, content, found in (
        ("latin.yaml", text.encode("cp1252"), r"latin\.yaml:2: found the byte 0xb5, expected UTF-8"),
        ("wide.yaml", text.encode("utf-16"), r"wide\.yaml:1: found UTF-16, expected UTF-8"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=found):
            problems(["train", tmp_path / name])
        with pytest.raises(InputError, match=found):
            overlay_files(str(tmp_path / name), "train")
    (tmp_path / "marked.yaml").write_bytes(text.encode("utf-8-sig"))
    assert problems(["train", tmp_path / "marked.yaml"]) == []
    assert read_source(tmp_path / "marked.yaml").lines == {"batch_size": 2}


def test_a_device_that_is_not_there_is_told() -> None:
    assert problems(["inference"], device="cpu") == []
    for name in ("gpu", "cuda:77"):
        [line] = problems(["inference"], device=name)
        assert f"device: found '{name}', expected a device of this machine as PyTorch sees it: cpu" in line


def test_json_twins_are_read(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(yaml_to_json(config("train")))
    [problem] = problems([tmp_path / "train.json", "demo"], epoch_lenght=3)
    assert "Did you mean epoch_length?" in problem


def yaml_to_json(path: Path) -> str:
    return json.dumps(yaml.safe_load(path.read_text()))


# ---- values ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("base", "key", "value", "expected"),
    [
        ("train", "learning_rate", -1, "a number above 0"),
        ("train", "learning_rate", True, "a number above 0"),
        ("train", "learning_rate", "1e-3", "Write 0.001"),
        ("train", "patch_size", [16, 32], "a list of 3 (z, y, x), each a whole number, 1 or more"),
        ("train", "patch_size", 32, "a list of 3"),
        ("train", "batch_size", 0, "a whole number, 1 or more"),
        ("train", "batch_size", 2.0, "a whole number, 1 or more"),
        ("train", "augmentation#elastic", 1.5, "a number from 0 to 1"),
        ("train", "density#share", [0.5, 0.1], "the lower one first"),
        ("train", "loss_weights#cycle_x", -0.1, "a number, 0 or more"),
        ("train", "holdout_fraction", 0.6, "a number from 0 to 0.5"),
        ("train", "semi_supervised", "maybe", "true or false"),
        ("train", "scale_x", [0.5, 0, 0.5], "each a number above 0"),
        ("train", "max_iterations", None, "a whole number, 1 or more"),
        ("train", "output_dir", 3, "a text"),
        ("train", "network_def", "unet", "a definition, with _target_, or null"),
        ("train", "loss_weights", 3, "keys and values"),
        ("inference", "overlap", 1, "a number from 0 below 1"),
        ("inference", "flips", 3, "one of 1, 2, 4, 8, 16"),
        ("inference", "intensity_percentiles", [99, 1], "the lower one first"),
        ("inference", "decoder#mask_distance", -2, "a number from -1 to 1"),
        ("inference", "empty_below", 2, "a number from -1 to 1 or null"),
    ],
)
def test_a_value_out_of_range_is_told(
    base: str, key: str, value: Any, expected: str, overlay: Callable[..., Path]
) -> None:
    path = overlay(yaml.safe_dump({key: value}))
    lines = [line for line in problems([base, path]) if line.startswith(f"{path}:1: {key.replace('#', '::')}: found ")]
    assert len(lines) == 1
    assert expected in lines[0]


def test_a_value_is_told_where_it_stands_and_not_where_it_is_referred_to() -> None:
    [problem] = problems(["inference"], intensity_percentiles=[99, 1])
    assert problem.startswith("command line: intensity_percentiles: ")
    assert len(problems(["train"], intensity_percentiles=[99, 1], patch_size=[8, 0, 8])) == 2


def test_resume_is_a_switch_or_auto() -> None:
    assert problems(["train"], resume="auto") == problems(["train"], resume=True) == []
    assert "expected true or false or auto" in problems(["train"], resume="auot")[0]


@pytest.mark.parametrize("value", [True, "true", "False", 1, "$1 > 2", "@amp"])
def test_a_switch_may_be_given_in_many_ways(value: Any) -> None:
    assert problems(["train"], semi_supervised=value) == []


def test_a_value_is_worked_out_before_it_is_judged() -> None:
    [problem] = problems(["train"], max_iterations="$@epoch_length * 0")
    assert "max_iterations: found 0 ($@epoch_length * 0), expected a whole number, 1 or more" in problem
    assert problems(["train"], max_iterations="$@epoch_length * 3", min_foreground="$len(os.listdir('.'))") == []


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("$1 + @representation.channels", 4),
        ("$[int(n / 2) for n in @size]", [4, 8]),
        ("$math.ceil(max(@size[1:]) * 1.25)", 20),
        ("@size", [8, 16]),
        ("@size#1", 16),
        ("$@self + 1", UNKNOWN),
        ("$__import__('os').getcwd()", UNKNOWN),
        ("$().__class__", UNKNOWN),
        ("$torch.device('cpu')", UNKNOWN),
        ("$1 / 0", UNKNOWN),
        ("%size", UNKNOWN),
    ],
)
def test_expressions_are_calculated_and_nothing_else_is_done(expression: str, value: Any) -> None:
    maps = [{"_target_": target} for target in list(MAPS)[:3]]
    representation = {"_target_": "scripts.representation.Representation", "maps": maps}
    content = {"size": [8, 16], "representation": representation, "self": expression}
    assert Values(content)["self"] == value


def test_references_are_those_that_monai_sees() -> None:
    assert references("@a#b::c") == ["a::b::c"]
    assert references("$@a + @b#0") == ["a", "b::0"]
    assert references("me@example.org") == references("@a b") == references("$import a") == references(3) == []


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("scripts.networks.SegmentationGenerator", {"out_channels", "filters", "isotropic_from"}),
        ("scripts.volume_io.VolumeReader", None),
        ("scripts.watershed.BCWatershed", {"seed_contour", "ties"}),
        ("scripts.watershed.AffinityWatershed", {"seed_affinity"}),
        ("scripts.dataset.volume_items", {"image", "label"}),
        ("scripts.command.start.plain_errors", set()),
        ("torch.nn.Conv3d", None),
    ],
)
def test_arguments_are_read_from_the_source(target: str, names: set[str] | None) -> None:
    found = arguments(target)
    assert names is None or (found is not None and names <= set(found))
    assert not names or "other" not in (found or ())


# ---- what has to fit together ----------------------------------------------------------------------------------------
def test_a_decoder_of_other_maps_is_told() -> None:
    overrides = {"decoder": {"_target_": "scripts.watershed.AffinityWatershed"}}
    assert "but AffinityWatershed, the decoder, takes affinity" in problems(["inference"], **overrides)[0]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("network_def#out_channels", "4, the translated image and 3 of foreground, contour, distance"),
        ("map_discriminator_def#in_channels", "3, the channels of foreground, contour, distance"),
        ("image_discriminator_def#in_channels", "1, the image"),
    ],
)
def test_channels_that_do_not_match_the_maps_are_told(key: str, expected: str) -> None:
    [problem] = problems(["train"], **{key: 5})
    assert f"found 5, expected {expected}" in problem
    assert problems(["train", "target_bc"], **{"network_def#out_channels": 3}) == []


def test_more_affinities_are_more_channels() -> None:
    offsets = [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [0, 0, -3]]
    assert problems(["train", "target_affinity"], **{"representation#maps#0#offsets": offsets}) == []
    fixed = {"representation#maps#0#offsets": offsets, "network_def#out_channels": 4}
    assert "found 4, expected 5" in problems(["train", "target_affinity"], **fixed)[0]


def test_a_window_or_patch_below_the_stride_of_the_network_is_told() -> None:
    [problem] = problems(["train"], window=[3, 32, 32])
    assert "window: found [3, 32, 32], expected at least [4, 4, 4] (z, y, x)" in problem
    assert problems(["train"], window=[0, 32, -1]) == []  # the whole side
    assert problems(["train", "published"], window=[4, 16, 16]) == []
    assert "at least [4, 16, 16]" in problems(["train", "published"], patch_size=[4, 15, 16], sample_size=[9, 9, 9])[0]


def test_widths_that_the_groups_do_not_divide_are_told() -> None:
    assert "multiples of 8" in problems(["train"], **{"network_def#filters": [16, 30]})[0]
    assert problems(["train", "tile_independent"], **{"network_def#filters": [16, 30]}) == []


# ---- volumes ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def files(volumes: Path) -> dict[str, str]:
    names = {"image_x": "imageX_*.tif", "label_x": "labelX_*.tif", "image_y": "volumeY.h5"}
    return {key: str(volumes / name) for key, name in names.items()}


def with_volumes(base: str, *overlays: str, **overrides: Any) -> Findings:
    return check_config([config(name) for name in (base, *overlays)], overrides)


def test_of_volumes_the_heads_and_one_voxel_are_read(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch, volumes: Path
) -> None:
    read = ChunkedVolume.__getitem__

    def counted(volume: ChunkedVolume, box: Any) -> np.ndarray:
        part = read(volume, box)
        assert part.size == 1
        return part

    monkeypatch.setattr("scripts.volume_io.chunked.ChunkedVolume.__getitem__", counted)
    found = with_volumes("train", **files)
    assert found.problems == []
    assert set(found.shapes.values()) == {(32, 64, 64)}
    assert len(found.shapes) == 5
    image = {"image": str(volumes / "storeY.ome.zarr"), "model_path": str(BUNDLE / "models" / "model.pt")}
    assert with_volumes("inference", **image).problems == []


def test_all_that_is_wrong_with_volumes_is_told_at_once(files: dict[str, str], volumes: Path, tmp_path: Path) -> None:
    write_volume(tmp_path / "cut.tif", np.zeros((32, 64, 60), np.uint8))
    wrong = {"label_x": [str(tmp_path / "cut.tif")], "image_y": str(volumes / "imageZ.tif"), "start_from": "none.pt"}
    lines = [str(problem) for problem in with_volumes("train", **{**files, **wrong}).problems]
    assert any("2 images and 1 labels" in line and "key label_x" in line for line in lines)
    assert any(f"{tmp_path / 'cut.tif'}: shape (32, 64, 60) (z, y, x), but its image" in line for line in lines)
    assert any(line.startswith(f"{volumes / 'imageZ.tif'}: no such file") and "key image_y" in line for line in lines)
    assert any(line.startswith("none.pt: no such file") for line in lines)
    assert len(lines) == 4


def test_what_only_decoding_shows_is_told(files: dict[str, str], tmp_path: Path) -> None:
    write_volume(tmp_path / "a.zarr", np.zeros((32, 64, 64), np.uint8))
    metadata = tmp_path / "a.zarr" / "main" / ".zarray"
    metadata.write_text(metadata.read_text().replace("blosc", "lz4"))
    (line,) = [
        str(problem) for problem in with_volumes("train", **{**files, "image_y": str(tmp_path / "a.zarr")}).problems
    ]
    assert "its codec 'lz4' is not supported" in line and "key image_y" in line


def test_a_patch_larger_than_a_volume_after_scaling_is_told(files: dict[str, str]) -> None:
    wide = {**files, "patch_size": [16, 40, 40]}
    lines = [str(problem) for problem in with_volumes("train", **wide).problems]
    assert len(lines) == 3  # two of X, one of Y
    assert "patch_size: found [16, 40, 40], expected at most [32, 32, 32], which " in lines[0]
    assert lines[0].endswith("(32, 64, 64) has after scale_x [1.0, 0.5, 0.5]. The largest that fits is [16, 32, 32].")
    assert with_volumes("train", **wide, scale_x=[1, 1, 1], scale_y=[1, 1, 1]).problems == []


def test_a_scale_that_cannot_be_right_is_told_before_any_work(
    files: dict[str, str], volumes: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: Any
) -> None:
    assert rule.MOST_SCALED == scaling.MOST_SCALED
    (line,) = [str(problem) for problem in with_volumes("train", **files, scale_y=[1000, 1000, 1000]).problems]
    assert "scale_y: found [1000, 1000, 1000]" in line and "to 20" in line
    monkeypatch.setattr("scripts.volume_io.volume.available_bytes", lambda: 10**9)
    large = {"scale_x": [2, 2, 2], "scale_y": [20, 20, 20]}
    (line,) = [str(problem) for problem in with_volumes("train", **files, **large).problems]
    assert "shape (32, 64, 64) becomes (640, 1280, 1280), 4.2 GB; 1.0 GB of memory are free" in line
    image = {"image": str(volumes / "storeY.ome.zarr"), "model_path": str(BUNDLE / "models" / "model.pt")}
    (line,) = [str(problem) for problem in with_volumes("inference", **image, scale=[20, 20, 20]).problems]
    assert "becomes (640, 1280, 1280)" in line and "key scale" in line
    for name, size in (("x.tif", (0.5, 0.2, 0.2)), ("l.tif", (0.5, 0.2, 0.2)), ("y.tif", (500, 200, 200))):
        write_volume(tmp_path / name, np.zeros((32, 64, 64), np.uint8), size)
    both = {"image_x": str(tmp_path / "x.tif"), "label_x": str(tmp_path / "l.tif"), "image_y": str(tmp_path / "y.tif")}
    assert with_volumes("train", **both).problems == []
    assert "differ by a factor of 1000" in caplog.text and "y.tif: 500 x 400 x 400 µm" in caplog.text


def test_what_is_read_is_looked_at_where_another_program_puts_its_own_volumes(files: dict[str, str]) -> None:
    """As MONAI Label does for X; image_x is then not asked for."""
    pair = {key: files[f"{key}_x"].replace("*", "0") for key in ("image", "label")}
    others = {**files, "image_x": "none.tif", "train#dataset#data": [pair], "validate#dataset#data": []}
    assert with_volumes("train", **others).problems == []
    for key in ("train", "validate"):
        [problem] = with_volumes("train", **{**others, f"{key}#dataset#data": [{**pair, "label": "b.tif"}]}).problems
        assert (problem.key, str(problem).startswith("b.tif: no such file")) == (f"{key}::dataset::data", True)
    wide = with_volumes("train", **others, patch_size=[16, 40, 40]).problems
    assert len(wide) == 2  # of X and of Y


def test_data_of_another_program_are_segmented_and_so_checked(files: dict[str, str]) -> None:
    image = files["image_y"]
    assert list(with_volumes("inference", **{"dataset#data": [{"image": image}]}).shapes) == [image]
    lost = with_volumes("inference", **{"dataset#data": [{"image": "none.tif"}]}).problems
    assert [str(problem)[:22] for problem in lost if problem.key != "model_path"] == ["none.tif: no such file"]
    for wrong in ("Y.tif", ["Y.tif"], [{"volume": "Y.tif"}], [{"image": ["Y.tif"]}]):
        [line] = problems(["inference"], **{"dataset#data": wrong})
        assert "dataset::data: found" in line
        assert "expected a list of dictionaries, [{'image': FILE}]" in line
    both = problems(["inference"], **{"dataset#data": [{"image": image}], "image": image})
    assert ["image: found a key without effect" in line for line in both] == [True]


def test_a_label_that_nothing_scores_against_is_told() -> None:
    assert problems(["inference", "evaluate"], label="L.tif") == []
    [line] = problems(["inference"], label="L.tif")
    assert "label: found 'L.tif', expected null, since nothing scores" in line
    assert line.endswith("Add configs/evaluate.yaml.")


# ---- commands --------------------------------------------------------------------------------------------------------
def test_many_problems_are_one_error_with_a_line_each(overlay: Callable[..., Path]) -> None:
    with pytest.raises(InputError) as raised:
        check(config_file=f"{config('train')},{overlay('batch_size: 0')}", volumes="false", flps=2, amp="perhaps")
    lines = str(raised.value).splitlines()
    assert lines[0] == "3 problems, before any work:"
    assert len(lines) == 4
    refuse([])


def test_the_command_says_what_it_looked_at(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    check("training", config_file=[config("train")], **files)
    said = capsys.readouterr().out
    assert said.startswith("no problem found, on top of train.yaml\n")
    assert "foreground, contour, distance" in said
    assert f"{files['image_y']} (32, 64, 64)" in said


def test_the_command_imports_neither_torch_nor_monai(files: dict[str, str]) -> None:
    code = (
        "import sys; from scripts.check.command import check; "
        f"check(config_file={str(config('train'))!r}, **{files!r}); "
        "print(sorted({'torch', 'monai', 'ignite'} & sys.modules.keys()))"
    )
    with cold():
        done = subprocess.run([sys.executable, "-c", code], cwd=BUNDLE, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_command_ends_with_status_1_and_all_problems() -> None:
    command = [sys.executable, "-m", "scripts.check", "training", "--config_file", "['configs/train.yaml']"]
    command += ["--learning_rte", "0.1", "--density#prob", "2", "--volumes", "false"]
    done = subprocess.run(command, cwd=BUNDLE, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: 2 problems, before any work:\n")
    assert "Did you mean learning_rate" in done.stderr
    assert "Traceback" not in done.stderr


def message_of(run: Run, *names: str, **overrides: Any) -> str:
    """What stops a run that `run_here` starts."""
    with pytest.raises(Exception) as raised:
        run(*names, **overrides)
    error = expected_error(raised.value)
    assert error is not None, raised.value
    return str(error)


def test_a_workflow_of_monai_is_stopped_before_any_work(run_here: Run, files: dict[str, str], tmp_path: Path) -> None:
    given = {**files, "output_dir": tmp_path / "out", "learning_rte": 0.1, "betas": [2, 3]}
    message = message_of(run_here, "training", "train", **given)
    assert message.startswith("2 problems, before any work:")
    assert "learning_rte: found an unknown key" in message
    assert not (tmp_path / "out").exists()


def test_the_command_of_monai_names_the_file_and_the_command_line(
    files: dict[str, str], overlay: Callable[..., Path], tmp_path: Path
) -> None:
    path = overlay("batch_sise: 3\n")
    command = [sys.executable, "-m", "monai.bundle", "run", "training"]
    command += ["--config_file", str([str(config("train")), str(path)]), "--bundle_root", str(BUNDLE)]
    for key, value in {**files, "output_dir": tmp_path / "out", "learning_rte": 0.1, "pair_transforms": None}.items():
        command += [f"--{key}", str(value)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{path}:1: batch_sise: found an unknown key" in done.stderr
    assert "command line: learning_rte: found an unknown key" in done.stderr
    assert "command line: pair_transforms: found None, which MONAI leaves out" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_workflow_without_such_a_run_id_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MONAI Label and `check_properties` look parts up one by one."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    for run_id in ("", "nothing"):
        workflow = ConfigWorkflow(
            str(config("train")), run_id=run_id, logging_file=False, bundle_root=str(BUNDLE), betas=3
        )
        workflow.initialize()


def test_every_list_of_first_steps_has_the_check() -> None:
    for path in CONFIGS.glob("*.yaml"):
        steps = read_source(path).content.get("initialize")
        assert steps is None or {"_target_": "scripts.check.check_run"} in steps, path.name


def test_only_bases_are_taken_for_bases() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml") if base_of(read_source(path).content)} == set(BASES)
