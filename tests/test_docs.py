"""The pages for users: commands parse, links lead somewhere, and what is said to run as it stands is run."""

from __future__ import annotations

import ast
import csv
import importlib
import inspect
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import monai.bundle
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.utils.module import locate
from scripts.adapt import Adapted, adapt
from scripts.blockwise.option import options_of
from scripts.dataset import volume_items
from scripts.example import make_pair, write_pair
from scripts.volume_io import read_volume, write_volume
from scripts.watershed import TARGETS

ROOT = Path(__file__).resolve().parents[1]
BUNDLE, DOCS, CONFIGS = ROOT / "bundle", ROOT / "bundle" / "docs", ROOT / "bundle" / "configs"
PAGES = {path.stem: path for path in (*DOCS.glob("*.md"), *DOCS.glob("guides/*.md"))} | {"root": ROOT / "README.md"}

# Commands that no test runs as they stand, and why; the page says so too (`test_what_is_not_run_is_said_so`).
NOT_RUN = {
    "tensorboard": "serves until it is stopped",
    "napari": "opens a window, and is not part of the environment",
    "unzip": "needs a download of 1.7 GB",
    "sbatch": "needs a SLURM cluster",
    "dask": "needs several machines; test_blockwise_cluster.py starts both on one",
    "mlflow": "serves until it is stopped, and is not part of the environment",
    "curl": "what test_label_server.py asks from Python",
}
# What test runs a command with other values, where the tutorial does not: a file, and what in it shows that.
RUN_BY = {
    "monai.bundle run training": ("test_workflows.py", '"training"'),
    "monai.bundle run evaluating": ("test_workflows.py", '"evaluating"'),
    "monai.bundle verify_metadata": ("test_metadata.py", "verify_metadata(meta"),
    "monai.bundle verify_net_in_out": ("test_metadata.py", "verify_net_in_out("),
    "monai.bundle ckpt_export": ("test_export.py", "ckpt_export("),
    "torchrun": ("conftest.py", "torch.distributed.run"),
    "scripts.adapt": ("test_adapt.py", "adapt_files("),
    "scripts.blockwise": ("test_blockwise.py", "import main"),
    "scripts.check": ("test_check.py", "check("),
    "scripts.classical": ("test_classical.py", "segment_file("),
    "scripts.compare": ("test_compare.py", "compare("),
    "scripts.convert_checkpoint": ("test_convert_checkpoint.py", '"scripts.convert_checkpoint"'),
    "scripts.compare.demo": ("test_compare_demo.py", "demo("),
    "scripts.export": ("test_export.py", "import main"),
    "scripts.inspect": ("test_inspect.py", "main(str(model))"),
    "scripts.judge": ("test_judge_command.py", "judge_files("),
    "scripts.judge.confidence": ("test_judge_confidence.py", "write_confidence("),
    "scripts.judge.threshold": ("test_judge_threshold.py", "choose_thresholds("),
    "scripts.label_server": ("test_label_server.py", '"scripts.label_server"'),
    "scripts.match_domains": ("test_match_domains.py", '"scripts.match_domains"'),
    "scripts.report.html": ("test_report_html.py", "write_html("),
    "scripts.report.augmentation": ("test_report.py", "draw_augmentations("),
    "make": ("test_project.py", "Makefile"),
    "sha256sum": ("test_package.py", '"sha256sum", "-c"'),
}
SHELL = {"source", "cd", "export", "sleep", "exit", "[", "done", "fi", "for", "pip", "python3"}
KEYWORDS = {"do", "then", "else", "if", "while", "until"}

# What cuts the tutorial down: the pair is smaller, the training shorter and begun with the weights that are shipped, so
# that there are nuclei in the end; nothing else is changed.
SHORTER = {
    "scripts.example": {"shape": "(32,96,96)"},
    "scripts.adapt": {
        "max_iterations": "4",
        "warm_up_iterations": "2",
        "epoch_length": "2",
        "validation_interval": "2",
        "panel_interval": "2",
        "num_workers": "0",
        "start_from": "models/model.pt",
    },
}


class Command(NamedTuple):
    """A command of a page: its words, whether it stands in a line of prose, and the text before its block."""

    page: str
    words: list[str]
    inline: bool
    before: str


def blocks(page: str) -> Iterator[tuple[str, str, str]]:
    """Language, text, and the paragraph before, of every fenced block."""
    text = PAGES[page].read_text()
    for block in re.finditer(r"^```(\w*)\n(.*?)^```", text, re.M | re.S):
        yield block[1], block[2], text[: block.start()].rstrip().rpartition("\n\n")[2]


def simple_commands(text: str) -> Iterator[list[str]]:
    """Words of each command in lines of shell, what controls them and assignments left out."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(re.sub(r"(^|\s)#.*$", "", line), posix=True, punctuation_chars=";&|")
        lexer.whitespace_split, lexer.commenters = True, ""
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) - set(";&|"):
                words.append(word)
                continue
            while words and (words[0] in KEYWORDS or re.fullmatch(r"\w+=\S*", words[0])):
                words = words[1:]
            if words:
                yield words
            words = []


def commands(page: str) -> Iterator[Command]:
    for language, text, before in blocks(page):
        if language in ("", "bash", "sh"):
            yield from (Command(page, words, False, before) for words in simple_commands(text))
    prose = re.sub(r"^```.*?^```", "", PAGES[page].read_text(), flags=re.M | re.S)
    for text in re.findall(r"`(python -m [^`]+)`", prose):
        if "…" not in text:
            yield from (Command(page, words, True, "") for words in simple_commands(text.replace("\n", " ")))


ALL = [command for page in PAGES for command in commands(page)]


def parsed(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """Arguments by their place, which come first, and `--key value` or `--key` as a dictionary."""
    places = list(itertools.takewhile(lambda word: not word.startswith("--"), words))
    words = words[len(places) :]
    found: dict[str, str] = {}
    for place, word in enumerate(words):
        if word.startswith("--"):
            following = words[place + 1 : place + 2]
            found[word[2:]] = "true" if not following or following[0].startswith("--") else following[0]
        else:
            assert words[place - 1].startswith("--"), f"{word!r} belongs to no flag"
    return places, found


@cache
def config(*names: str) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / name) for name in names])
    return parser


def is_key(key: str, parser: ConfigParser) -> bool:
    """Whether a config has an id, or its parent is an object that takes such an argument."""
    key = key.replace("#", "::")
    if key in parser:
        return True
    parent, _, name = key.rpartition("::")
    definition = parser[parent] if parent and parent in parser else None
    target = definition.get("_target_") if isinstance(definition, dict) else None
    return target is not None and name in inspect.signature(locate(target)).parameters


def check_bundle(words: list[str], inline: bool) -> None:
    """A command of monai.bundle: its own arguments, or keys of the configurations that it names."""
    (action, *ids), flags = parsed(words)
    own = inspect.signature(getattr(monai.bundle, action)).parameters
    if "config_file" not in flags:
        assert inline or action == "verify_metadata", "no configuration is named"
        return
    value = flags["config_file"]
    names = ast.literal_eval(value) if value.startswith("[") else [value]
    ours = [name for name in names if name.startswith("configs/")]
    if all(name.startswith("outputs/") for name in names):  # what a run has left
        return
    assert ours, f"{names}: the base has to be named"
    assert all((BUNDLE / name).is_file() for name in ours), names
    parser = config(*(name.removeprefix("configs/") for name in ours))
    assert action != "run" or all(name in parser for name in ids or ["run"]), f"no such command: {ids}"
    unknown = [key for key in flags if key not in own and not is_key(key, parser)]
    assert not unknown, f"neither arguments nor keys: {unknown}"


def main_of(module: str) -> Any:
    """The function that a module's command line calls."""
    path = BUNDLE / Path(*module.split("."))
    name = f"{module}.__main__" if path.is_dir() else module
    source = (path / "__main__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    return getattr(importlib.import_module(name), re.findall(r"^    start\((\w+)\)", source, re.M)[0])


def further_flags(module: str, flags: dict[str, str]) -> set[str]:
    """What a command takes beyond its named arguments."""
    if module in ("scripts.adapt", "scripts.check", "scripts.compare", "scripts.compare.demo", "scripts.label_server"):
        bases = ["train.yaml", "inference.yaml"][: 1 + (module == "scripts.label_server")]
        return {key for key in flags if any(is_key(key, config(base)) for base in bases)}
    decoder = TARGETS[flags.get("target", "bcd")]
    return {*inspect.signature(decoder.decode).parameters, *options_of(decoder()).given}


def check_script(module: str, words: list[str], inline: bool) -> None:
    """A command of ours: flags are arguments of its function, and all that it needs are there, but in prose."""
    places, flags = parsed(words)
    signature = inspect.signature(main_of(module))
    bind = signature.bind_partial if inline else signature.bind
    bind(*places, **{key.replace("#", "_"): value for key, value in flags.items()})
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values()):
        unknown = set(flags) - set(signature.parameters) - further_flags(module, flags)
        assert not unknown, f"unknown flags: {sorted(unknown)}"


def kind_of(words: list[str]) -> str:
    """What a command is, as RUN_BY and NOT_RUN name it: "scripts.report", "monai.bundle run training", "make"."""
    if words[:3] == ["python", "-m", "monai.bundle"]:
        places, _ = parsed(words[3:])
        return " ".join(["monai.bundle", *places[: 2 if places[0] == "run" else 1]])
    return words[2] if words[0] == "python" else Path(words[0]).name


def check(command: Command) -> None:
    """See that a command would be understood."""
    words = [re.sub(r"\$\{?\w+\}?", "1", word) for word in command.words]
    if words[0] == "torchrun":
        words = ["python", *words[words.index("-m") :]]
    if words[0].startswith("--"):  # flags alone, of a training
        assert all(is_key(key, config("train.yaml")) for key in parsed(words)[1]), words
    elif words[:3] == ["python", "-m", "monai.bundle"]:
        check_bundle(words[3:], command.inline)
    elif words[:2] == ["python", "-m"]:
        check_script(words[2], words[3:], command.inline)
    else:
        known = Path(words[0]).name in {*SHELL, *NOT_RUN, *RUN_BY}
        assert known, f"{words[0]} is unknown here; a block without commands names its language"


@pytest.mark.parametrize("command", ALL, ids=lambda c: f"{c.page}: {' '.join(c.words)[:70]}")
def test_every_command_parses(command: Command) -> None:
    check(command)


def test_every_page_has_commands_that_are_found() -> None:
    in_blocks = [text for page in PAGES for language, text, _ in blocks(page) if language in ("", "bash", "sh")]
    assert sum("-m" in command.words for command in ALL if not command.inline) == "".join(in_blocks).count(" -m ") > 40
    assert {command.page for command in ALL} == set(PAGES)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("python -m scripts.watershed --pred a.h5 --out b.tif --seed_distanze 0.5", "seed_distanze"),
        ("python -m scripts.report --out b.png", "image"),
        ("python -m scripts.gone", "gone"),
        ("python -m monai.bundle run training --config_file configs/train.yaml --dataset D", "dataset"),
        ("python -m monai.bundle run trainning --config_file configs/train.yaml", "trainning"),
        ("python -m monai.bundle run --config_file configs/gone.yaml", "gone.yaml"),
        ("--density#probability 0.9", "probability"),
        ("rm -r D", "rm"),
    ],
)
def test_a_wrong_command_is_noticed(line: str, wrong: str) -> None:
    [words] = simple_commands(line)
    with pytest.raises((AssertionError, TypeError, OSError), match=wrong):
        check(Command("", words, False, ""))


def test_each_command_line_stands_once() -> None:
    lines = [(command.page, " ".join(command.words)) for command in ALL if not command.inline and "-m" in command.words]
    seen = [line for page, line in lines if page != "root"]
    assert {line for line in seen if seen.count(line) > 1} == set()


KINDS = {kind_of(command.words) for command in ALL if not command.words[0].startswith("--")} - SHELL
IN_TUTORIAL = {kind_of(command.words) for command in ALL if command.page == "GET_STARTED"}


@pytest.mark.parametrize("kind", sorted(KINDS - {*NOT_RUN} - IN_TUTORIAL))
def test_every_command_is_run_by_a_test_or_there_is_a_reason(kind: str) -> None:
    file, evidence = RUN_BY[kind]
    assert evidence in (ROOT / "tests" / file).read_text()


def test_what_is_not_run_is_said_so() -> None:
    silent = [c for c in ALL if kind_of(c.words) in NOT_RUN and not re.search(r"[Nn]o\W+test|not\W+run\W+by", c.before)]
    assert not [(c.page, " ".join(c.words)) for c in silent]


LINKING = [*PAGES.values(), *DOCS.glob("reference/*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]


@pytest.mark.parametrize("page", LINKING, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`]*`", "", page.read_text())
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        target, _, anchor = link.partition("#")
        linked = page.parent / target if target else page
        assert linked.exists(), link
        titles = re.findall(r"^#+ (.*)$", linked.read_text(), re.M) if anchor else []
        anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
        assert not anchor or anchor in anchors, link


def test_every_page_is_linked_from_the_model_card() -> None:
    linked = set(re.findall(r"\]\((?:guides/)?(\w+)\.md", PAGES["README"].read_text()))
    assert {*PAGES} - {"root", "README"} <= linked


# ---- the tutorial, as it stands --------------------------------------------------------------------------------------
@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the bundle, where what a page writes does no harm."""
    unwanted = shutil.ignore_patterns("__pycache__", "outputs", "eval", "docs")
    return Path(shutil.copytree(BUNDLE, tmp_path / "bundle", ignore=unwanted))


def run_here(folder: Path, *words: str) -> str:
    """Run Python with these words; return what it said."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def snippets(page: str) -> list[str]:
    return [text for language, text, _ in blocks(page) if language == "python"]


@pytest.mark.long
def test_the_tutorial_leads_from_volumes_to_a_table(folder: Path) -> None:
    said = ""
    for language, text, _ in blocks("GET_STARTED"):
        if language == "python":
            said = run_here(folder, "-c", text)
            continue
        for words in simple_commands(text):
            if (kind := kind_of(words)) not in NOT_RUN:
                more = [part for key, value in SHORTER.get(kind, {}).items() for part in (f"--{key}", value)]
                run_here(folder, *words[1:], *more)
    out = folder / "D" / "out"
    rows = list(csv.DictReader((out / "instances.csv").open()))
    instances, _ = read_volume(out / "imageY_instances.tif")
    assert len(rows) == np.count_nonzero(np.unique(instances)) > 0
    assert said.startswith(f"{len(rows)} nuclei, ")
    assert "nan" not in said
    assert json.loads((out / "result.json").read_text())["scores"]["present"] > 0
    again, _ = read_volume(folder / "D" / "more" / "imageY_instances.tif")
    np.testing.assert_array_equal(again, instances)
    named = [name for name in re.findall(r"`(D/[\w./]+)`", PAGES["GET_STARTED"].read_text()) if not name.endswith("/")]
    assert not [name for name in named if not (folder / name).exists()]


# ---- snippets, on files of the layout that they are for --------------------------------------------------------------
STARTS = ("0000_0576_0768", "0064_0384_0832")


@pytest.fixture
def downloads(folder: Path) -> Path:
    """Made-up files with the names and datasets of NucMM and NucExM, and others that DATA.md names."""
    rng = np.random.default_rng(0)
    for start in STARTS:
        for kind, name in (("Image", "img"), ("Label", "seg")):
            path = folder / "NucMM" / "Zebrafish (NucMM-Z)" / kind / "train" / f"{name}_{start}.h5"
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(path, "w") as file:
                file["main"] = rng.integers(0, 255, (8, 9, 10), np.uint8)
    (folder / "NucExM").mkdir()
    for name, kind in (("volume", np.uint8), ("label", np.uint16)):
        with h5py.File(folder / "NucExM" / f"{name}.h5", "w") as file:
            file["main"] = rng.integers(0, 255, (5, 16, 22), kind)
    with h5py.File(folder / "turned.h5", "w") as file:
        file["data"] = rng.integers(0, 255, (6, 5, 4), np.uint8)
    write_volume(folder / "D" / "imageX.tif", np.full((4, 5, 6), 55, np.uint8), (2, 1, 1))
    return folder


def test_the_snippets_about_data_do_what_is_said(downloads: Path) -> None:
    said, seen = "", dict[str, tuple[np.ndarray, Any]]()
    for text in snippets("DATA"):
        said += run_here(downloads, "-c", text)
        seen |= {path.relative_to(downloads).as_posix(): read_volume(path) for path in downloads.glob("D/**/*.tif")}
        if "turned.h5" in text:
            assert seen["D/imageY.tif"][0].shape == (4, 5, 6)
            assert seen["D/imageY.tif"][1] == pytest.approx((0.5, 0.2, 0.2))
    assert int(seen["D/inverted.tif"][0].max()) == 200
    assert {f"D/{kind}_{start}.tif" for kind in ("Image/img", "Label/seg") for start in STARTS} <= {*seen}
    assert said == "main (5, 16, 22) uint8\n"
    whole, label = (h5py.File(downloads / "NucExM" / f"{name}.h5")["main"][()] for name in ("volume", "label"))
    assert seen["D/imageY.tif"][0].shape == (5, 4, 5)
    assert seen["D/imageY.tif"][0][1, 2, 3] == pytest.approx(whole[1, 8:12, 12:16].mean(), abs=0.51)
    np.testing.assert_array_equal(seen["D/labelY.tif"][0], label[:, 2::4, 2:20:4])


def test_public_volumes_are_found_in_pairs_as_they_are(downloads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(downloads)
    trainings = [command.words for command in ALL if command.page == "DATA" and "training" in command.words]
    [flags] = [parsed(words)[1] for words in trainings if any("NucMM" in word for word in words)]
    pairs = volume_items(flags["image_x"], flags["label_x"])
    assert [[Path(path).stem[4:] for path in pair.values()] for pair in pairs] == [[start] * 2 for start in STARTS]
    assert [read_volume(path)[0].shape for path in pairs[0].values()] == [(8, 9, 10), (8, 9, 10)]


def test_the_snippets_about_judging_run_on_what_inference_writes(folder: Path) -> None:
    label = make_pair((48, 170, 170), seed=3)["labelY"]
    for name in ("D/imageY.tif", "D/out/imageY_instances.tif", "D/out_1/imageY_instances.tif"):
        write_volume(folder / name, label, (2, 1, 1))
    write_volume(folder / "D" / "label_part.tif", label[8:40, 32:160, 32:160], (2, 1, 1))
    sizes = np.bincount(label.ravel())[1:]
    rows = "\n".join(f"{n},{size},{int(n == 1)}" for n, size in enumerate(sizes, 1))
    (folder / "D" / "out" / "instances.csv").write_text(f"id,voxels,touches_border\n{rows}\n")
    said = [run_here(folder, "-c", text) for text in snippets("JUDGING")]
    assert f" {np.median(sizes[1:]).round():.0f}. " in said[0]
    assert "'f1_50': 1.0" in said[1]
    assert "'ap50': 1.0" in said[3]


def test_the_ten_lines_from_python_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def trained(*given: Any, **more: Any) -> Adapted:
        """Stand in for half an hour of training, which test_adapt_adaptation.py runs, shortened."""
        inspect.signature(adapt).bind(*given, **more)
        return Adapted(given[1], torch.load("models/model.pt"), None, {}, {}, None)

    monkeypatch.setattr("scripts.adapt.adapt", trained, raising=False)
    monkeypatch.chdir(folder)
    write_pair("D", shape=(24, 64, 64), seed=3)
    [text] = [text for text in snippets("INFERENCE") if "from scripts.adapt import" in text]
    assert len([line for line in text.splitlines() if line and not line.startswith("from")]) <= 10
    capsys.readouterr()
    exec(text, values := {})
    assert (
        int(capsys.readouterr().out.split()[0])
        == len(values["found"].table["id"])
        > 0
        < len(values["other"].table["id"])
    )
    assert values["joined"].plan.keys["overlap"] == 0.25
    assert (folder / "D" / "adapted.pt").is_file()


# ---- the array job ---------------------------------------------------------------------------------------------------
@pytest.mark.long
def test_the_array_job_ends_well_in_all_its_tasks(folder: Path) -> None:
    [script] = [text for _, text, _ in blocks("LARGE_VOLUMES") if text.startswith("#!/bin/bash")]
    changes = {"sleep 60": "sleep 2", "python -m": f"'{sys.executable}' -m", "maps.zarr": "maps.h5"}
    for old, new in {**changes, "--shard ": "--block 12,32,32 --halo 4,8,8 --shard "}.items():
        assert old in script
        script = script.replace(old, new)
    (folder / "decode.sh").write_text(script)
    inside = (make_pair((24, 64, 64), seed=3)["labelY"] > 0).astype(np.uint8)
    write_volume(folder / "out" / "maps.h5", np.stack([255 * inside, 0 * inside, 127 + 120 * inside]))
    array = {"SLURM_ARRAY_TASK_COUNT": "2", **os.environ}
    start = partial(subprocess.Popen, ["bash", "decode.sh"], cwd=folder, stderr=subprocess.PIPE, text=True)
    tasks = [start(env={**array, "SLURM_ARRAY_TASK_ID": str(task)}) for task in range(2)]
    said = [task.communicate(timeout=240)[1] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], said
    assert np.count_nonzero(read_volume(folder / "out" / "instances.ome.zarr")[0]) > 0
    assert (folder / "out" / "instances.csv").is_file()


# ---- settings of the reference ---------------------------------------------------------------------------------------
# Of CySGAN-Base.yaml, CySGAN-UNet-BCD.yaml and CySGAN-UNet-BC.yaml.
REFERENCE = {
    "SYSTEM": "NUM_GPUS NUM_CPUS",
    "AUGMENTOR": "SMOOTH ADDITIONAL_TARGETS_NAME ADDITIONAL_TARGETS_TYPE MISSINGPARTS.ITER",
    "MODEL": "ARCHITECTURE BLOCK_TYPE ACT_MODE INPUT_SIZE OUTPUT_SIZE NORM_MODE MIXED_PRECESION FILTERS IN_PLANES "
    "OUT_PLANES TARGET_OPT LOSS_OPTION LOSS_WEIGHT WEIGHT_OPT OUTPUT_ACT",
    "DATASET": "INPUT_PATH IMAGE_NAME LABEL_NAME PAD_SIZE MATCH_ACT REJECT_SAMPLING.SIZE_THRES REJECT_SAMPLING.P "
    "DISTRIBUTED OUTPUT_PATH",
    "NEW_DOMAIN": "IMAGE_NAME SEMI_SUP",
    "SOLVER": "NAME LR_SCHEDULER_NAME BASE_LR ITERATION_STEP ITERATION_SAVE ITERATION_TOTAL SAMPLES_PER_BATCH",
    "MONITOR": "ITERATION_NUM",
    "INFERENCE": "INPUT_SIZE OUTPUT_SIZE IMAGE_NAME OUTPUT_NAME OUTPUT_PATH OUTPUT_ACT PAD_SIZE AUG_MODE AUG_NUM "
    "STRIDE SAMPLES_PER_BATCH",
}


def rows_of_settings() -> list[list[str]]:
    lines = [line for line in PAGES["FROM_PYTORCH_CONNECTOMICS"].read_text().splitlines() if re.match(r"\| `", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_setting_of_the_reference_is_there_once() -> None:
    named = [name for row in rows_of_settings() for name in re.findall(r"`([A-Z_]+\.[\w.]+)`", row[0])]
    assert len(named) == len(set(named))
    for group, names in REFERENCE.items():
        assert {f"{group}.{name}" for name in names.split()} <= set(named)


@pytest.mark.parametrize("row", rows_of_settings(), ids=lambda row: row[0].strip("`")[:40])
def test_our_keys_that_settings_are_mapped_to_exist(row: list[str]) -> None:
    assert len(row) == 3
    assert row[2]
    bases = config("train.yaml"), config("inference.yaml"), config("inference.yaml", "blockwise.yaml")
    for name in re.findall(r"`([^`]+)`", row[2]):
        if name.endswith(".yaml"):
            assert (CONFIGS / name).is_file(), name
        elif not re.fullmatch(r"[A-Z_.]+", name):
            assert any(is_key(name, base) for base in bases), name


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("patch_size", [17, 129, 129]),
        ("window", [33, 257, 257]),
        ("window_padding", [4, 16, 16]),
        ("max_iterations", 100_000),
        ("network_def::filters", [32, 64, 96, 128, 160]),
        ("network_def::isotropic_from", 3),
        ("network_def::padding_mode", "replicate"),
        ("learning_rate", 0.002),
        ("discriminator_learning_rate", 0.002),
        ("betas", [0.9, 0.999]),
        ("warm_up_iterations", 0),
        ("translation_noise", 0.0),
        ("scale_x", [1.0, 1.0, 1.0]),
        ("checkpoint_interval", 5000),
        ("learning_rate_warm_up", 1000),
        ("batch_size", 2),
    ],
)
def test_the_published_overlay_has_the_reference_values_that_the_page_names(key: str, value: Any) -> None:
    assert config("train.yaml", "published.yaml")[key] == value
