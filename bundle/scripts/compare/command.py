"""The command that compares methods on the same volumes; `__main__.py` starts it.

Example::

    python -m scripts.compare --config configs/demo.yaml --methods source_only,two_step,cysgan,classical \
        --dataset_dir D --label_y D/labelY.tif --output_dir outputs/compare
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.adapt.settings import file_times
from scripts.check import check_config, refuse
from scripts.check.overlay import configuration, overlay_files
from scripts.check.path import paths
from scripts.check.run import check_folder, check_training
from scripts.command.bundle import BUNDLE, as_read, listed
from scripts.command.lock import Lock
from scripts.compare.method import Method, methods_named
from scripts.compare.run import Run, Target
from scripts.compare.table import summarise, write_results
from scripts.dataset import volume_items
from scripts.errors import InputError
from scripts.report import draw_comparison
from scripts.volume_io import check_results, read_channel_names, read_label, read_maps, read_volume

__all__ = ["compare"]

# What the command itself sets for each run.
_OWN = {"seed": "--seeds", "model_path": "--output_dir", "resume": "nothing: it goes on by itself"}


def compare(
    config: str | Sequence[str] = (),
    methods: str | Sequence[str] = ("source_only", "two_step", "cysgan", "classical"),
    seeds: str | int | Sequence[int] = 0,
    output_dir: str = "outputs/compare",
    **overrides: Any,
) -> None:
    """Train each method for the same number of steps, segment Y, score; write results.csv, .md and .png.

    A run whose folder `output_dir`/<method>/<seed> holds its result is not run again, and one that was interrupted
    resumes from its last checkpoint. Where a file that it read has changed since, the command ends before any work;
    where labels of Y alone have, it is scored again. All methods decode with the thresholds of the configuration.
    Without `label_y` there is the picture and, for each model, the score of `scripts.judge`.

    Args:
        config: overlays on train.yaml, such as configs/demo.yaml; inference takes the plan of each model.
        methods: names in `scripts.compare.METHODS`.
        seeds: seeds of the trainings. Each method is trained with each of them.
        output_dir: where everything goes.
        **overrides: keys of train.yaml, such as `--dataset_dir D`, `--label_y L.tif` or `--max_iterations 1000`.

    Raises:
        InputError: a method, key, file or folder is not as expected or another run works there, before anything is
            run; or one of the commands failed.
    """
    for name in overrides.keys() & _OWN.keys():
        raise InputError(f"{name} is set for each run by itself; give {_OWN[name]} in its place.")
    numbers = _seeds(seeds)
    out, overlays = Path(output_dir).resolve(), overlay_files(config, "train")
    refuse([*paths({"output_dir": str(out)})])
    given = {name: value for name, value in as_read(overrides).items() if value is not None}
    refuse(check_config([BUNDLE / "configs" / "train.yaml", *overlays], given, "training").problems)
    values = _values(overlays, overrides)
    chosen = methods_named(listed(methods), values["label_y"] is not None)
    if "no_input_defects" in chosen and values["defects"] in (None, "$None"):
        raise InputError("no_input_defects: light_augmentation.yaml has other defects; leave one of the two out.")
    check_folder(out)
    places = {"output_dir": str(out), "model_path": str(out / "model.pt")}
    check_training(**{name: values[name] for name in ("image_x", "label_x", "image_y", "label_y")}, **places)
    check_results(_target(values).images, out)
    runs = _runs(out, chosen, numbers, overlays, overrides, values)
    with Lock(out / ".compare.lock", out):
        for run in runs.values():
            run.check()
        _run(out, runs, _note(overlays, overrides))


def _seeds(seeds: str | int | Sequence[int]) -> list[int]:
    names = listed(seeds)
    if not names or len({*names}) < len(names) or not all(name.isdecimal() for name in names):
        raise InputError(f"seeds: found {', '.join(names) or 'none'}, expected whole numbers from 0 on, each once.")
    return [int(name) for name in names]


def _run(out: Path, runs: Mapping[tuple[str, int], Run], note: str) -> None:
    """Run what is not finished; the tables grow by each."""
    rows: list[dict[str, Any]] = []
    finished: dict[str, Run] = {}
    for (name, seed), run in runs.items():
        earlier = (
            ", finished earlier" if run.finished else ", scored again: labels of Y changed" if run.rescored else ""
        )
        print(f"\n== {run.method.title}, seed {seed}{earlier}", flush=True)
        rows.append({"method": run.method.title, "seed": seed, **run.result()})
        finished.setdefault(name, run)
        write_results(out, rows, note)
    _draw(out / "results.png", finished)
    print(f"\n{summarise(rows)}\ntables: {out / 'results.csv'}, results.md\npicture: {out / 'results.png'}")


def _values(overlays: Sequence[Path], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What the training's configuration says of the volumes."""
    parser = configuration("train", overlays, overrides)
    names = ("image_x", "label_x", "image_y", "label_y", "start_from")
    return {**{name: parser.get_parsed_content(name) for name in names}, "defects": parser["random_transforms"]}


def _target(values: Mapping[str, Any]) -> Target:
    items = volume_items(values["image_y"], values["label_y"])
    labels = None if values["label_y"] is None else [item["label"] for item in items]
    source = volume_items(values["image_x"], values["label_x"])
    return Target([item["image"] for item in items], labels, [item["label"] for item in source])


def _runs(
    out: Path,
    methods: Mapping[str, Method],
    seeds: Sequence[int],
    overlays: Sequence[Path],
    overrides: Mapping[str, Any],
    values: Mapping[str, Any],
) -> dict[tuple[str, int], Run]:
    """All runs in the order of the table; what is not trained has one for all seeds."""
    target = _target(values)
    files, label_y = read_files(values, target)
    pairs = [(name, seed) for name in methods for seed in (seeds if methods[name].trained else seeds[:1])]
    return {
        (name, seed): Run(out / name / str(seed), methods[name], seed, overlays, overrides, target, files, label_y)
        for name, seed in pairs
    }


def read_files(values: Mapping[str, Any], target: Target) -> tuple[dict[str, str], dict[str, str]]:
    """Return size and time of what the runs read, by name: volumes of X, images of Y and weights; and Y's labels."""
    source = volume_items(values["image_x"], values["label_x"])
    names = [*(name for item in source for name in item.values()), *target.images]
    return file_times(names, values["start_from"]), file_times(target.labels or ())


def _note(overlays: Sequence[Path], overrides: Mapping[str, Any]) -> str:
    names = ", ".join(["train.yaml", *(path.name for path in overlays)])
    changed = ", ".join(f"{name} {value}" for name, value in overrides.items()) or "none"
    return f"Mean over seeds, of AP-50 also the range. Configuration: {names}; overrides: {changed}."


def _draw(path: Path, runs: Mapping[str, Run]) -> None:
    target = next(iter(runs.values())).target
    image, voxel_size = read_volume(target.images[0])
    rows, names = {}, list[str]()
    for run in runs.values():
        maps, instances = run.outputs()
        rows[run.method.title] = (None if maps is None else read_maps(maps)[0], read_volume(instances)[0])
        names = names if maps is None else [name for name in read_channel_names(maps) if name != "image"]
    truth = None if target.labels is None else read_label(target.labels[0], target.images[0])
    draw_comparison(path, image, rows, names, truth=truth, voxel_size=voxel_size or (2.0, 1.0, 1.0))
