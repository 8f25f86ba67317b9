"""The command that writes a run's page, one file that needs no other and no network: report.html.

Example::

    python -m scripts.report.html --run outputs/train --image y.tif --instances y_instances.tif --metrics metrics.json
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from scripts.command.start import start
from scripts.errors import InputError
from scripts.report.chart import HEIGHT, WIDTH, Chart, histogram_chart, loss_chart
from scripts.report.command import read_json
from scripts.report.confidence import confidence_of_table
from scripts.report.fact import commands_in, commands_of, facts_of, numbers_of
from scripts.report.objects import Objects, joined_objects, measure_objects
from scripts.report.origin import origin_of
from scripts.report.run import RunFolder, public, read_run
from scripts.report.score import rows_of_scores, score_cells
from scripts.report.viewer import Viewer, panel_viewer, volume_viewers
from scripts.volume_io import ChunkedVolume, list_volumes, open_label, open_volume, result_stem
from scripts.volume_io.paths import check_place
from scripts.volume_io.replacement import write_text

__all__ = ["write_html"]

TEMPLATE = Path(__file__).with_name("template")


def write_html(
    run: str,
    out: str | None = None,
    image: str | None = None,
    instances: str | None = None,
    label_y: str | None = None,
    label_x: str | Sequence[str] | None = None,
    metrics: str | None = None,
    voxel_size: Sequence[float] | None = None,
    title: str = "",
    commands: str | None = None,
    table: str | None = None,
    expansion: float = 1.0,
) -> None:
    """Write report.html: instances in three planes, panels over time, losses, object sizes, scores and the record.

    What is not given is left out, and the page says so. Volumes are read once, part by part; for memory see
    `scripts.report.viewer.volume_viewers` and `scripts.report.objects.measure_objects`. Of the example pair the page is
    2 MB; of nothing but noise, as large as can be, it would be about 20.

    Args:
        run: output_dir of the training.
        out: the page, by default report.html in `run`.
        image: volume of Y (any format that inference reads); by default the training's, where `instances` are given: of
            several the one that they are named after.
        instances: what inference made of it. How it was made is read from its plan, or from its maps.
        label_y: labels of the same volume, drawn as white outlines.
        label_x: labels of X, one file, a pattern or a list; by default the labels of the training.
        metrics: JSON of the scores.
        voxel_size: of Y, (z, y, x) in micrometres; by default what the file of the image says. Objects are measured in
            voxels where it is not known of X and of Y; the sections are then drawn as of voxels of 2, 1, 1.
        title: of the page.
        table: instances.csv of scripts.adapt, whose confidence the page shows.
        expansion: how many times larger the sample of Y was made; lengths on the page are those before.
        commands: a shell script that the page shows, such as commands.sh of scripts.adapt; by default the training's.

    Raises:
        InputError: a file is missing, damaged or does not fit the others, or the page cannot be written.
    """
    folder = read_run(run)
    target = Path(out or folder.path / "report.html")
    check_place(target)
    if not 0 < expansion < math.inf:
        raise InputError(f"--expansion: found {expansion}, expected a number above 0.")
    scores = {} if metrics is None else read_json(metrics)
    notes: list[str] = []
    with ExitStack() as files:
        volumes = _opened(files, image or _image_of(folder, instances), instances, label_y)
        source = _labels_of_x(files, folder, label_x, notes)
        viewers, objects = list[Viewer](), dict[str, Objects]()
        stated = voxel_size or (volumes and volumes[0].voxel_size)
        size = stated and [side / expansion for side in stated]
        in_um = all(one.voxel_size for one in source) and (volumes is None or size is not None)
        if volumes is not None:
            viewers, objects = volume_viewers(*volumes, size, in_um)
        if source:
            parts = [measure_objects(labels, labels.voxel_size if in_um else None) for labels in source]
            objects["source"] = joined_objects(parts)
    page = _page(folder, viewers, objects, scores) | {"objects": _object_charts(objects, in_um)}
    notes += [f"{name} is not in the training's folder." for name in folder.missing]
    if expansion != 1:
        notes.append(f"Lengths and volumes of Y are those before its expansion by {expansion:g}.")
    if commands is not None:
        page["commands"] = commands_in(commands)
    page["confidence"] = None if table is None else confidence_of_table(table, image)
    page["origin"] = origin_of(instances, notes)
    page |= {"title": title or f"CySGAN: {folder.path.resolve().name}", "notes": notes}
    write_text(target, _rendered(page))


def _image_of(folder: RunFolder, instances: str | None) -> str | None:
    """The training's volume of Y; of several the one that the instances are named after."""
    if instances is None or not (given := folder.volumes("image_y")):
        return None
    images, name = list_volumes(given), Path(instances).name
    fitting = [image for image in images if name.startswith(f"{result_stem(image)}_instances.")]
    known = images if len(images) == 1 else fitting
    return known[0] if len(known) == 1 else None


def _opened(
    files: ExitStack, image: str | None, instances: str | None, label_y: str | None
) -> tuple[ChunkedVolume, ChunkedVolume | None, ChunkedVolume | None] | None:
    if image is None:
        if instances is not None or label_y is not None:
            raise InputError(
                "instances and label_y are laid over a volume of Y, and it is not known which: give --image."
            )
        return None
    opened = files.enter_context(closing(open_volume(image)))
    found, truth = (
        None if path is None else files.enter_context(closing(open_label(path, opened)))
        for path in (instances, label_y)
    )
    return opened, found, truth


def _labels_of_x(
    files: ExitStack, folder: RunFolder, given: str | Sequence[str] | None, notes: list[str]
) -> list[ChunkedVolume]:
    """Those that are given; those of the training may be gone, which is told on the page alone."""
    try:
        paths = list_volumes(given) if given is not None else list_volumes(folder.volumes("label_x") or ())
        return [files.enter_context(closing(open_volume(path))) for path in paths]
    except InputError as error:
        if given is not None:
            raise
        known = bool(folder.volumes("label_x"))
        notes.append(f"Labels of X are left out: {error}" if known else "Labels of X: none are known; see --label_x.")
        return []


def _page(
    folder: RunFolder, viewers: Sequence[Viewer], objects: dict[str, Objects], scores: dict[str, Any]
) -> dict[str, Any]:
    start = folder.last_start
    last = max((float(steps[-1]) for steps, _ in folder.losses.values()), default=0.0)
    warm_up = int(start.get("warm_up_iterations") or 0)
    rows = score_cells(rows_of_scores(scores))
    found = len(objects["instances"].sizes) if "instances" in objects else None
    return {
        "numbers": numbers_of(folder, scores, found),
        "planes": viewers,
        "panels": [panel_viewer(cycle, panels) for cycle, panels in folder.panels.items()],
        "losses": [loss_chart(name, *pair, last, warm_up) for name, pair in folder.losses.items()],
        "score_rows": rows,
        "all_scores": [(name, f"{value:.6g}") for name, value in scores.items() if isinstance(value, (int, float))],
        "facts": facts_of(folder),
        "commands": commands_of(folder),
        "versions": list(start.get("versions", {}).items()),
        "configuration": public(folder.configuration),
    }


def _object_charts(objects: dict[str, Objects], in_um: bool) -> list[Chart]:
    names = {"source": "labels of X", "instances": "instances of Y", "labels": "labels of Y"}
    groups = {names[key]: objects[key] for key in names if key in objects}
    sizes = {name: one.sizes for name, one in groups.items()}
    ways = {name: one.distances for name, one in groups.items()}
    unit = ("µm³", "µm") if in_um else ("voxels", "voxels")
    charts = [
        histogram_chart("Size of objects", f"volume, {unit[0]}", sizes, log=True),
        histogram_chart("Distance to the nearest neighbour", f"between centres, {unit[1]}", ways, log=False),
    ]
    return [chart for chart in charts if chart is not None]


def _rendered(page: dict[str, Any]) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(**page, width=WIDTH, height=HEIGHT)


if __name__ == "__main__":
    start(write_html)
