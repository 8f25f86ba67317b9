"""The check of configurations: problems are found, each with file, key, found and expected; what is shipped passes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripts.check import check_config, refuse
from scripts.check.command import check
from scripts.check.overlay import overlay_files
from scripts.check.range import RANGES, range_of
from scripts.check.rule import DECODERS
from scripts.check.running import read_words
from scripts.check.schema import follows
from scripts.check.signature import arguments
from scripts.check.source import base_of, read_source
from scripts.check.tree import has, references, walk
from scripts.check.value import MAPS, UNKNOWN, Values
from scripts.errors import InputError

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"
CONFIGS = BUNDLE / "configs"
BASES = ("train", "inference")
OVERLAYS = [path.stem for path in sorted(CONFIGS.glob("*.yaml")) if path.stem not in BASES]
SHIPPED = [(base, name) for name in OVERLAYS for base in read_source(CONFIGS / f"{name}.yaml").overlay_on]
Write = Callable[..., Path]


def config(name: str) -> Path:
    return CONFIGS / f"{name}.yaml"


@pytest.fixture
def overlay(tmp_path: Path) -> Write:
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
    assert {name for name in (*BASES, *OVERLAYS) if base_of(read_source(config(name)).content)} == set(BASES)


@pytest.mark.parametrize(("base", "name"), [*SHIPPED, *((base, None) for base in BASES)])
def test_what_is_shipped_passes_before_and_after_the_published_setting(base: str, name: str | None) -> None:
    needed = {"oracle": {"label_y": "labelY.tif"}, "refine": {"start_from": "model.pt"}}
    overrides = needed.get(name, {})
    assert problems([base, *([name] if name else [])], **overrides) == []
    if name not in ("published", None):
        assert problems([base, "published", name], **overrides) == []
        if not read_source(config(name)).last:
            assert problems([base, name, "published"], **overrides) == []


def test_every_range_is_of_a_key_that_there_is() -> None:
    known = {key for path in CONFIGS.glob("*.yaml") for key, _ in walk(read_source(path).content)}
    known |= {f"decoder::{name}" for target in DECODERS for name in arguments(target) or ()}
    assert [key for key in RANGES if not any(range_of(name) is RANGES[key] for name in known)] == []


@pytest.mark.parametrize("base", BASES)
def test_every_default_that_can_be_told_is_in_its_range(base: str) -> None:
    content = read_source(config(base)).content
    values = Values(content)
    checked = [key for key in RANGES if has(content, key) and values[key] is not UNKNOWN]
    assert len(checked) > 20
    assert [key for key in checked if not follows(values[key], RANGES[key])] == []


# ---- keys, values and what has to fit: what is typed, and what is said -----------------------------------------------
AFFINITIES = [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [0, 0, -3]]
WRONG: list[tuple[str, dict[str, Any], str]] = [
    # keys
    ("train", {"learning_rte": 0.5}, "learning_rte: found an unknown key, .* no effect. Did you mean learning_rate"),
    ("train", {"density#prbo": 0.5}, "density::prbo: found .*Did you mean density::prob"),
    ("train", {"network_def#filter": 0.5}, "network_def::filter: found .*Did you mean filters"),
    ("train", {"filters": 0.5}, "filters: found .*Did you mean .*network_def::filters"),
    ("train", {"loss_weights#cycle": 0.5}, "loss_weights::cycle: found .*Did you mean .*loss_weights::cycle_x"),
    (
        "train",
        {"decoder#seed_contuor": 0.5},
        "decoder::seed_contuor: found 0.5, .*BCDWatershed. Did you .*seed_contour",
    ),
    ("train", {"image_discriminator_def#stride": 0.5}, "image_discriminator_def::stride: found .*Did you mean strides"),
    ("train", {"scael_x": 0.5}, "scael_x: found .*Did you mean scale_x"),
    (
        "train",
        {"optimizers#generator_yx#learning_rte": 1},
        "::learning_rte: found 1, .*adamw. Did you mean learning_ra",
    ),
    ("train", {"random_transforms#amounts": {"elstic": {"sigma": 1}}}, "amounts::elstic: found an unknown key"),
    (
        "train",
        {"random_transforms#amounts": {"elastic": {"sgma": 1}}},
        "sgma: found 1, .*RandElastic.*Did you mean sig",
    ),
    ("train", {"_target_": "a"}, "_target_: found an unknown key"),
    ("train", {"experiment_name": "a"}, "experiment_name: found an unknown key"),
    ("train", {"learning_rate::x": 3}, "learning_rate::x: found no learning_rate"),
    ("train", {"betas::2": 3}, "betas::2: found "),
    ("train", {"nothing::a::b": 3}, "nothing::a::b: found "),
    ("train", {"train::handlers::9": 3}, "train::handlers::9: found "),
    ("train", {"+train#handlers": []}, r"\+train#handlers: found a \+, which here replaces"),
    ("train", {"betas": "$[0.5, @discriminator_learning_rat]"}, "betas: found @.*Did you mean discriminator_learning_"),
    ("train light_augmentation", {"augmentation#elastic": 0.0}, "augmentation::elastic: found a key without effect"),
    ("train", {"val_interval": 2, "validation_interval": 3}, "validation_interval: found a key without effect"),
    ("inference", {"scale_y": [1, 1, 1]}, "scale_y: found .*Did you mean scale?"),
    # values
    ("train", {"learning_rate": -1}, "a number above 0"),
    ("train", {"learning_rate": True}, "a number above 0"),
    ("train", {"learning_rate": float("nan")}, "a number above 0"),
    ("train", {"learning_rate": "1e-3"}, "Write 0.001"),
    ("train", {"patch_size": [16, 32]}, r"a list of 3 \(z, y, x\), each a whole number, 1 or more"),
    ("train", {"patch_size": 32}, "a list of 3"),
    ("train", {"batch_size": 0}, "a whole number, 1 or more"),
    ("train", {"batch_size": 2.0}, "a whole number, 1 or more"),
    ("train", {"val_interval": 0}, "val_interval: found 0, expected a whole number, 1 or more"),
    ("train", {"augmentation#elastic": 1.5}, "a number from 0 to 1"),
    ("train", {"density#share": [0.5, 0.1]}, "the lower one first"),
    ("train", {"share_y": [0.5, 0.1]}, r"share_y: found \[0.5, 0.1\], expected two values, the lower one first"),
    ("train", {"share_y": 0.3}, "share_y: found 0.3, expected two values"),
    ("train", {"share_y": [0.1, 1.2]}, "each a number from 0 to 1"),
    ("train", {"discriminator_augmentation": 1.5}, "augmentation: found 1.5, expected a number from 0 to 1"),
    ("train", {"loss_weights#cycle_x": -0.1}, "a number, 0 or more"),
    ("train", {"holdout_fraction": 0.6}, "a number from 0 to 0.5"),
    ("train", {"semi_supervised": "maybe"}, "true or false"),
    ("train", {"resume": "auot"}, "true or false or auto"),
    ("train", {"scale_x": [0.5, 0, 0.5]}, "each a number above 0 to 20"),
    ("train", {"max_iterations": "$@epoch_length * 0"}, r"found 0 \(\$@epoch_length \* 0\), expected a whole number"),
    ("train", {"output_dir": 3}, "expected a text. A name that is read as a number needs ./ before it"),
    ("train", {"network_def": "unet"}, "a definition, with _target_, or null"),
    ("train", {"network_def": "3"}, "a definition, with _target_, or null"),
    ("train", {"loss_weights": 3}, "keys and values"),
    ("train", {"network_def#padding_mode": 3}, "network_def::padding_mode: found 3, expected a text"),
    (
        "train",
        {"optimizers#warm_up#learning_rate": 0},
        "optimizers::warm_up::learning_rate: found 0, .* a number above 0",
    ),
    ("train", {"optimizers#generator_yx#betas": [0.5]}, r"betas: found \[0.5\], expected a list of 2"),
    ("train", {"optimizers#generator_xy#weight_decay": "a"}, "weight_decay: found 'a', expected a number, 0 or more"),
    (
        "train",
        {"random_transforms#amounts": {"elastic": {"sigma": "a"}}},
        "elastic::sigma: found 'a', expected a number",
    ),
    ("train", {"unit_x#signed": "often"}, "unit_x::signed: found 'often', expected true or false"),
    ("train oracle", {}, "label_x: found null .*oracle.yaml, which trains on Y, wants label_y"),
    ("inference", {"overlap": 1}, "a number from 0 below 1"),
    ("inference", {"flips": 3}, "one of 1, 2, 4, 8, 16"),
    ("inference", {"intensity_percentiles": [99, 1]}, "intensity_percentiles: found .*the lower one first"),
    ("train", {"intensity_percentiles": [99, 1]}, "line: intensity_percentiles: found "),  # not once more for _x and _y
    ("inference", {"decoder#mask_distance": -2}, "a number from -1 to 1"),
    ("inference target_bc", {"decoder#seed_contour": 2}, "a number from 0 to 1"),
    ("inference", {"empty_below": 2}, "a number from -1 to 1 or null"),
    ("inference blockwise", {"block": 3}, "line: block: found 3, expected a list of 3"),
    *(
        ("inference", {"dataset#data": wrong}, r"dataset::data: found .*a list of dictionaries, \[\{'image': FILE\}\]")
        for wrong in ("Y.tif", ["Y.tif"], [{"volume": "Y.tif"}], [{"image": ["Y.tif"]}])
    ),
    ("inference", {"decoder#small_mode": "x"}, "small_mode: found 'x', expected one of none, background, backg"),
    ("inference", {"decoder#height": "contour"}, "height: found 'contour', expected one of foreground, distance"),
    ("train", {"decoder#ties": "x"}, "ties: found 'x', expected one of raster, heap"),
    ("inference", {"decoder#scale_factors": [1, 0, 1]}, r"expected a list of 3 \(z, y, x\), each a number above 0"),
    # what has to fit
    (
        "inference target_affinity",
        {"decoder": {"_target_": "scripts.watershed.BCWatershed"}},
        "but BCWatershed, the dec",
    ),
    ("train", {"network_def#out_channels": 5}, "5, expected 4, the translated image and 3 of foreground, contour, dis"),
    ("train", {"map_discriminator_def#in_channels": 5}, "5, expected 3, the channels of foreground, contour, distance"),
    ("train", {"image_discriminator_def#in_channels": 5}, "5, expected 1, the image"),
    (
        "train target_affinity",
        {"representation#maps#0#offsets": AFFINITIES, "network_def#out_channels": 4},
        "found 4, expected 5",
    ),
    ("train", {"window": [3, 32, 32]}, r"window: found \[3, 32, 32\], expected at least \[4, 4, 4\] \(z, y, x\)"),
    ("train published", {"patch_size": [4, 15, 16], "sample_size": [9, 9, 9]}, r"at least \[4, 16, 16\]"),
    (
        "train light_augmentation",
        {"patch_size": [16, 31, 32]},
        r"patch_size: found \[16, 31, 32\], expected equal sides y and x, which pair_transforms::4, RandRotate90d, ",
    ),
    ("train", {"network_def#filters": [16, 30]}, "multiples of 8"),
    ("train", {"loss_weights#share_y": 1.0}, "loss_weights::share_y: found 1.0, expected 0, since share_y, .* is null"),
    ("train", {"warm_up_iterations": 20000}, "all of max_iterations 20000, expected fewer iterations"),
    (
        "inference",
        {"label": "L.tif"},
        "label: found 'L.tif', expected null, since nothing scores.*Add configs/evaluate",
    ),
    ("inference", {"device": "gpu"}, "device: found 'gpu', expected a device of this machine as PyTorch sees it: cpu"),
    ("inference", {"device": "cuda:77"}, "device: found 'cuda:77', expected a device"),
]


@pytest.mark.parametrize(("files", "given", "said"), WRONG, ids=[f"{name} {given}"[:60] for name, given, _ in WRONG])
def test_what_is_wrong_is_one_line_with_what_is_expected(
    files: str, given: dict[str, Any], said: str, overlay: Write
) -> None:
    lines = problems([*files.split()], **given)
    assert len(lines) == 1 and re.search(said, lines[0]), lines
    if files == "inference" and "scale_y" not in given:  # which an overlay on both bases may have
        path = overlay(yaml.safe_dump(given))
        assert len([line for line in problems([files, path]) if line.startswith(f"{path}:1: ")]) == 1


RIGHT: list[tuple[str, dict[str, Any]]] = [
    ("train demo", {"augmentation#elastic": 0.0}),
    ("train", dict.fromkeys(("dataset_dir", "image_x", "label_x", "image_y"), "x")),
    ("train demo", {"val_interval": 2}),
    ("train", {"label_y": None}),
    *(("train", {"semi_supervised": value}) for value in (True, "true", "False", 1, "$1 > 2", "@amp")),
    *(("train", {"resume": value}) for value in ("auto", True)),
    ("train", {"max_iterations": "$@epoch_length * 3", "min_foreground": "$len(os.listdir('.'))"}),
    ("train", {"optimizers#generator_yx#learning_rate": 0.01, "optimizers#discriminator_x#learning_rate": 0}),
    ("train", {"optimizers#generator_yx": {"_target_": "torch.optim.Adam", "params": "$@generator_yx.parameters()"}}),
    ("train", {"random_transforms#amounts": {"cut_noise": {"amplitude": 0.2}, "rescale": {"factors": [0.9, 1.1]}}}),
    # version 0.4 had lists there
    ("train", {"source_transforms": [{"_target_": "scripts.check.CheckImaged", "keys": "image"}]}),
    ("train", {"target_transforms": [{"_target_": "scripts.validation.CheckImaged", "keys": "image"}]}),
    ("train target_bc", {"network_def#out_channels": 3}),
    ("train target_affinity", {"representation#maps#0#offsets": AFFINITIES}),
    ("train", {"window": [0, 32, -1]}),  # the whole side
    ("train published", {"window": [4, 16, 16]}),
    ("train tile_independent", {"network_def#filters": [16, 30]}),
    ("inference evaluate", {"label": "L.tif"}),
    ("inference", {"device": "cpu"}),
    ("inference", {"network_def": {"_target_": "mine.Network", "filters": "wide", "anything": 1}}),
]


@pytest.mark.parametrize(("files", "given"), RIGHT, ids=[f"{name} {given}"[:60] for name, given in RIGHT])
def test_what_is_right_passes(files: str, given: dict[str, Any]) -> None:
    assert problems([*files.split()], **given) == []


def test_problems_of_a_file_are_told_together_with_file_and_line(overlay: Write) -> None:
    path = overlay("# mine\nlearning_rate: 0.1\nbatch_sise: 3\ndensity::hase: 0.5\ndesnity::prob: 0.3\n+betas: 3\n")
    places = {line.partition(": found")[0] for line in problems(["train", path])}
    assert places == {
        f"{path}:5: desnity::prob",
        f"{path}:4: density::hase",
        f"{path}:3: batch_sise",
        f"{path}:6: +betas",
    }
    assert "found no nothing to add to" in problems(["train", overlay("+nothing: 3\n")])[0]
    assert len(problems(["train"], intensity_percentiles=[99, 1], patch_size=[8, 0, 8])) == 2


def test_what_is_given_is_not_changed_by_the_check() -> None:
    maps = [{"_target_": target} for target in MAPS]
    check_config(config("train"), {"representation#maps": maps, "representation#maps#0#bce_weight": 2.0}, volumes=False)
    assert maps[0] == {"_target_": next(iter(MAPS))}


def test_a_new_key_that_something_refers_to_is_known(overlay: Write) -> None:
    assert problems(["train", overlay("rate: 0.1\nlearning_rate: '@rate'\nbetas: $[0.5, 1 - @rate]\n")]) == []
    [line] = problems(["train", overlay("rate: -1\nlearning_rate: '@rate'\n")])
    assert "learning_rate: found -1 (@rate), expected a number above 0" in line
    both = overlay("scale: [1, 1, 1]\nscale_y: [1, 1, 1]\n")
    assert problems(["inference", both]) == problems(["train", both]) == []


def test_a_share_of_y_goes_with_its_weight(overlay: Write) -> None:
    path = overlay("overlay_on: [train, inference]\nshare_y: [0.1, 0.5]\n")
    assert problems(["train", path], **{"loss_weights#share_y": 1.0}) == problems(["train", path]) == []
    assert problems(["inference", path]) == []


def test_none_on_the_command_line_of_monai_is_told(overlay: Write) -> None:
    path = overlay("foreground_share: [0.1, 0.2]\n")
    [problem] = problems(["train", path], foreground_share=None)
    assert "Write --foreground_share '$None'" in problem
    assert problems(["train", path], foreground_share="$None") == []
    assert check_config(config("train"), {"experiment_name": "a"}, tracking="mlflow", volumes=False).problems == []


def test_an_unknown_run_id_is_told(overlay: Write) -> None:
    assert problems(["train"], run_id="training") == []
    assert "run id: found train, expected one of " in problems(["train"], run_id="train")[0]
    assert problems(["train", overlay("again: '@training'\n")], run_id="again") == []
    assert problems(["inference", "evaluate"], run_id="evaluate")[0].endswith("Did you mean evaluating?")


def test_a_trial_may_keep_the_warm_up_of_its_configuration(caplog: pytest.LogCaptureFixture) -> None:
    assert problems(["train"], max_iterations=20) == []
    assert "all of max_iterations 20" in caplog.text
    assert problems(["train"], max_iterations=1500) == []
    assert "500 follow the warm-up on the source: the learning rate never reaches its full value" in caplog.text


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


def test_the_base_of_an_overlay_is_what_its_key_says_or_else_its_keys(overlay: Write) -> None:
    for text in ("betas: [0.5, 0.9]\nlearning_rate: 0.1\n", "overlay_on: train.yaml\nseed_distance: 0.5\n"):
        [problem] = problems(["inference", overlay(text)])
        assert "mine.yaml on inference.yaml, expected it on train.yaml" in problem
    assert problems(["train", overlay("overlay_on: [inference, train]\nseed_distance: 0.5\n")]) == []
    path = overlay("overlay_on: trian\nseed_distance: 0.5\n")
    assert problems(["train", path]) == [
        f"{path}:1: overlay_on: found trian, expected train, inference or both. Did you mean train?"
    ]


def test_what_a_later_overlay_undoes_is_told_unless_it_is_the_last(overlay: Write) -> None:
    path = overlay("decoder::seed_foreground: 0.8\n")
    [problem] = problems(["inference", path, "target_bc"])
    assert re.search(f"{path}:1: decoder::seed_foreground: found it set, and undone by .*target_bc.yaml", problem)
    assert problems(["inference", "target_bc", path]) == []
    added, replaced = (
        overlay("+handlers:\n- {_target_: StatsHandler}\n", "added"),
        overlay("handlers: []\n", "replaced"),
    )
    assert "handlers" in problems(["inference", added, replaced])[0]
    assert problems(["inference", replaced, added]) == []
    path = overlay("overlay_on: inference\noverlay_last: true\nnetwork_def: {_target_: torch.nn.Identity}\n")
    assert problems(["inference", "published", path]) == []
    path.write_text(path.read_text().replace("overlay_last: true\n", ""))
    assert "undone by" in problems(["inference", "published", path])[0]


def test_a_file_that_cannot_be_read_is_told_with_its_line(overlay: Write, tmp_path: Path) -> None:
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
    text = "# two bytes:\nbatch_size: 1  # µm\n"
    path = tmp_path / "mine.yaml"
    for encoding, found in (("cp1252", "mine.yaml:2: found the byte 0xb5"), ("utf-16", "mine.yaml:1: found UTF-16")):
        path.write_bytes(text.encode(encoding))
        for read in (lambda: problems(["train", path]), lambda: overlay_files(str(path), "train")):
            with pytest.raises(InputError, match=f"{found}, expected UTF-8"):
                read()
    path.write_bytes(text.encode("utf-8-sig"))
    assert (problems(["train", path]), read_source(path).lines) == ([], {"batch_size": 2})


def test_json_twins_are_read(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(json.dumps(yaml.safe_load(config("train").read_text())))
    [problem] = problems([tmp_path / "train.json", "demo"], epoch_lenght=3)
    assert "Did you mean epoch_length?" in problem


# ---- parts -----------------------------------------------------------------------------------------------------------
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
    assert Values({"size": [8, 16], "representation": representation, "self": expression})["self"] == value


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


def test_words_are_read_as_monai_reads_them() -> None:
    words = [
        "training",
        "--config_file",
        "['a.yaml','b.yaml']",
        "--density#prob=2",
        "--amp",
        "--betas",
        "-1",
        "-x",
        "None",
    ]
    read = {"run_id": "training", "config_file": ["a.yaml", "b.yaml"], "density#prob": 2, "amp": True, "betas": -1}
    assert read_words(words) == {**read, "x": None}


# ---- commands --------------------------------------------------------------------------------------------------------
def test_many_problems_are_one_error_with_a_line_each(overlay: Write) -> None:
    with pytest.raises(InputError) as raised:
        check(config_file=f"{config('train')},{overlay('batch_size: 0')}", volumes="false", flps=2, amp="perhaps")
    lines = str(raised.value).splitlines()
    assert (lines[0], len(lines)) == ("3 problems, before any work:", 4)
    refuse([])


def test_the_command_ends_with_status_1_and_all_problems_and_imports_neither_torch_nor_monai() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "scripts.check", "training"]
    command += ["--config_file", "['configs/train.yaml']", "--learning_rte", "0.1", "--density#prob", "2"]
    done = subprocess.run([*command, "--volumes", "false"], cwd=BUNDLE, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert (done.returncode, said[0], len(said)) == (1, "error: 2 problems, before any work:", 3)
    assert "Did you mean learning_rate" in done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not {"torch", "monai", "ignite"} & imported
