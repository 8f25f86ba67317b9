"""The page of a run: what is on it, that it needs nothing from outside, that its sliders move in a real browser."""

from __future__ import annotations

import base64
import io
import json
import re
import runpy
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scripts.errors import InputError
from scripts.plan import METADATA, Plan
from scripts.report.chart import Axis, histogram_chart, loss_chart
from scripts.report.colour import PALETTE, outline
from scripts.report.fact import commands_of, facts_of, span
from scripts.report.frames import grey_frames, overlay_frames
from scripts.report.html import write_html
from scripts.report.objects import joined_objects, measure_objects
from scripts.report.run import public, read_run
from scripts.report.sections import MOST, SIDE, Sections, parts_of, section_places
from scripts.volume_io import open_volume, write_volume

from chromium import Page, browser

EVIL = "<script>alert('1')</script>&\"it's\""
TITLES = ("Instances of Y", "Translation and maps over the training", "Losses", "Objects of X and of Y", "Scores")
TITLES += ("The run", "Configuration")
PLANNED: dict[str, Any] = {
    "scale": [1.0, 0.5, 0.5],
    "training_voxel_size": [2.0, 1.0, 1.0],
    "overlap": 0.5,
    "decoder": {"_target_": "scripts.watershed.BCDWatershed", "seed_distance": 0.5, "min_seed_size": 8},
}
START = {
    "started": "2026-01-02T03:04:05+01:00",
    "ended": "2026-01-02T05:06:07+01:00",
    "seed": 17,
    "first_iteration": 0,
    "iterations": 40,
    "last_iteration": 40,
    "warm_up_iterations": 10,
    "volumes": {"image_x": "imageX.tif", "label_x": "labelX.tif", "image_y": "imageY.tif", "label_y": None},
    "folder": "",
    "command": f"python -m monai.bundle run training --name {EVIL}",
    "machine": {"system": "Linux", "processor": "x86", "cores": 2, "memory_gb": 8.0, "device": "cpu", "processes": 1},
    "versions": {"bundle": "0.0.1", "torch": "2.0.0"},
    "code": {"commit": "0123abc", "changed": ["scripts/compare/demo.py"]},
}


class Tags(HTMLParser):
    """Addresses in attributes, scripts, texts and headings of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        names = ("src", "href", "srcset", "action", "data", "poster", "xlink:href")
        self.addresses += [value or "" for name, value in attributes if name in names]

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.text.setdefault(self.open[-1] if self.open else "", []).append(data)


@pytest.fixture
def run(tmp_path: Path, balls: np.ndarray) -> Path:
    """A folder as a training leaves it, and the volumes of it beside."""
    folder = tmp_path / "train"
    (folder / "panels").mkdir(parents=True)
    for name, scale in (("X", 1), ("Y", 2)):
        noise = np.random.default_rng(scale).integers(0, 60, balls.shape)
        write_volume(tmp_path / f"image{name}.tif", ((balls > 0) * 120 + noise).astype(np.uint8), (2.0, 1.0, 1.0))
        write_volume(tmp_path / f"label{name}.tif", balls, (2.0, 1.0, 1.0))
    for iteration in (20, 40):
        for cycle in "xy":
            picture = Image.new("RGB", (120, 40), (iteration * 4, 0, 0))
            picture.save(folder / "panels" / f"cycle_{cycle}_{iteration:07d}.jpg")
    rows = [f"{step},{1 / step},{'' if step <= 10 else 2.0}" for step in range(1, 41)]
    (folder / "losses.csv").write_text("\n".join(["iteration,cycle_x,structure", *rows]) + "\n")
    (folder / "run.json").write_text(json.dumps({"runs": [{**START, "folder": str(tmp_path)}]}))
    (folder / "configuration.yaml").write_text(f"name: |\n  {EVIL}\nserver: https://me:secret@example.org\n")
    (tmp_path / "metrics.json").write_text(json.dumps({"ap50": 0.75, "ap75": 0.5, "dice": 0.9, "classical_ap50": 0.25}))
    return folder


@pytest.fixture
def page(run: Path, tmp_path: Path) -> Path:
    out = tmp_path / "report.html"
    write_html(
        str(run),
        out=str(out),
        instances=str(tmp_path / "labelY.tif"),
        label_y=str(tmp_path / "labelY.tif"),
        metrics=str(tmp_path / "metrics.json"),
        title=EVIL,
    )
    return out


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA"))


# ---- the page --------------------------------------------------------------------------------------------------------
def test_every_part_is_there(page: Path) -> None:
    tags = Tags(page.read_text())
    assert [title for title in TITLES if title not in tags.text["h2"]] == []
    assert tags.tags.count("input") == 2 + 3 + 2  # two layers, three planes, two cycles
    assert {"cycle_x", "structure", "Size of objects", "Distance to the nearest neighbour"} <= {*tags.text["h3"]}
    cells = {text.strip() for name in ("td", "th", "dd") for text in tags.text[name]}
    assert {"17", "0.750", "2 h 2 min", "40", "4", "2.0.0", "classical recipe"} <= cells
    assert "commit 0123abc, changed since: scripts/compare/demo.py" in cells


def test_nothing_is_fetched_from_anywhere(page: Path) -> None:
    text = page.read_text()
    assert [a[:40] for a in Tags(text).addresses if not a.startswith(("data:", "#"))] == []
    assert not re.search(r"@import|url\((?!['\"]?(?:data:|#))", text)
    code = text.rpartition("<script>")[2]
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|https?:", code)


def test_text_that_is_put_in_is_no_markup(page: Path) -> None:
    text = page.read_text()
    assert "<script>alert" not in text
    tags = Tags(text)
    assert EVIL in "".join(tags.text["h1"])
    assert sum(EVIL in part for part in tags.text["pre"]) >= 1
    assert tags.tags.count("script") == 5 + 1  # data of five viewers, and the page's own


def result_with(plan: Plan, folder: Path, labels: np.ndarray) -> Path:
    """Instances as TIFF, and the maps with their plan beside them, as inference writes them."""
    kept = {METADATA: plan.to_text()}
    write_volume(folder / "imageY_maps.h5", (labels > 0)[None].astype(np.uint8), attributes=kept)
    write_volume(folder / "imageY_instances.tif", labels, (2.0, 1.0, 1.0))
    return folder / "imageY_instances.tif"


def test_how_the_result_was_made_is_read_from_the_maps_beside_it(run: Path, tmp_path: Path, balls: np.ndarray) -> None:
    facts = {"image_y": [{"name": EVIL, "shape": [9, 8, 7], "voxel_size": [2, 1, 1]}] * 2, "iterations": 1200}
    facts |= {"stage": "CySGAN", "server": "https://me:secret@example.org", "remark": "word " * 500}
    model = Plan(PLANNED, EVIL, facts)
    result = model.with_keys({"overlap": 0.75, "decoder": {**PLANNED["decoder"], "seed_distance": 0.7}})
    write_html(str(run), str(tmp_path / "a.html"), instances=str(result_with(result, tmp_path, balls)))
    text = (tmp_path / "a.html").read_text()
    tags = Tags(text)
    assert "How this result was made" in tags.text["h2"]
    assert "What the model has otherwise" in tags.text["h3"] and "alert('1')</script>" not in text
    section = text.partition('id="origin"')[2].partition("</section>")[0]
    rows = dict(re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', section))
    assert rows["seed_distance"] == "0.5 in the model" and rows["iterations"] == "1200" and rows["stage"] == "CySGAN"
    assert rows["scale"].startswith("1 x 0.5 x 0.5 (z, y, x)") and rows["voxels as seen"].startswith("2 x 2 x 2 µm")
    assert "9 x 8 x 7 voxels (z, y, x) of 2 x 1 x 1 µm; 2 such volumes" in rows["Y"] and "imageY_maps.h5" in section
    assert "secret" not in section and len(rows["remark"]) < 400
    assert "<td>0.7</td>" in section and "<td>0.75 of a window</td>" in section


def test_instances_with_a_plan_of_their_own_need_no_maps_and_a_newer_plan_is_a_note(
    run: Path, tmp_path: Path, balls: np.ndarray
) -> None:
    text = Plan(PLANNED).to_text()
    write_volume(tmp_path / "cells.ome.zarr", balls, (2.0, 1.0, 1.0), labels=True, attributes={METADATA: text})
    given = {"image": str(tmp_path / "imageY.tif"), "out": str(tmp_path / "a.html")}
    write_html(str(run), instances=str(tmp_path / "cells.ome.zarr"), **given)
    assert "cells.ome.zarr records it" in (tmp_path / "a.html").read_text()
    result = result_with(Plan(PLANNED), tmp_path, balls)
    newer = text.replace('"format": 1', '"format": 99')
    write_volume(tmp_path / "imageY_maps.h5", balls[None].astype(np.uint8), attributes={METADATA: newer})
    write_html(str(run), instances=str(result), **given)
    page = (tmp_path / "a.html").read_text()
    assert 'id="origin"' not in page and re.search(r"left out: .*imageY_maps\.h5: found a plan of format 99", page)


def test_passwords_in_addresses_are_left_out(page: Path) -> None:
    assert "secret" not in page.read_text()
    assert public("a://u:p@h/x b://h/y@z") == "a://…@h/x b://h/y@z"


def test_what_is_not_given_is_left_out_and_said(run: Path) -> None:
    for name in ("run.json", "configuration.yaml"):
        (run / name).unlink()
    for panel in (run / "panels").iterdir():
        panel.unlink()
    write_html(str(run))
    tags = Tags((run / "report.html").read_text())
    assert tags.text["h2"] == ["Losses", "The run"]
    said = " ".join(tags.text["p"])
    for name in ("run.json", "configuration.yaml", "panels/"):
        assert f"{name} is not in the training's folder." in said
    assert "none are known" in said


def test_labels_of_x_that_are_gone_are_told_unless_they_were_asked_for(run: Path, tmp_path: Path) -> None:
    (tmp_path / "labelX.tif").unlink()
    write_html(str(run))
    assert "Labels of X are left out" in (run / "report.html").read_text()
    with pytest.raises(InputError, match="labelX"):
        write_html(str(run), label_x=str(tmp_path / "labelX.tif"))


def test_the_volume_is_that_of_the_training_which_the_instances_are_named_after(run: Path, tmp_path: Path) -> None:
    for name in ("imageZ.tif", "imageY_instances.tif"):
        shutil.copy(tmp_path / "labelY.tif", tmp_path / name)
    several = {**START, "folder": str(tmp_path), "volumes": {"image_y": ["imageZ.tif", "imageY.tif"]}}
    (run / "run.json").write_text(json.dumps({"runs": [several]}))
    write_html(str(run), instances=str(tmp_path / "imageY_instances.tif"))
    pages = [(run / "report.html").read_text()]
    write_html(str(run), instances=str(tmp_path / "imageY_instances.tif"), image=str(tmp_path / "imageY.tif"))
    pages.append((run / "report.html").read_text())
    assert pages[0] == pages[1]
    with pytest.raises(InputError, match="give --image"):
        write_html(str(run), instances=str(tmp_path / "labelY.tif"))


def test_an_earlier_page_stays_where_something_does_not_fit(run: Path, tmp_path: Path, balls: np.ndarray) -> None:
    (run / "report.html").write_text("before")
    write_volume(tmp_path / "small.tif", balls[:8])
    with pytest.raises(InputError, match=r"small\.tif: shape"):
        write_html(str(run), instances=str(tmp_path / "small.tif"))
    assert (run / "report.html").read_text() == "before"
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"run": "nowhere"}, "no such folder"),
        ({"run": "."}, "found no output of a training"),
        ({"instances": "labelY.tif", "run": "bare"}, "give --image"),
        ({"metrics": "train/losses.csv"}, "cannot be read as JSON"),
        ({"out": "train"}, "is a folder"),
        ({"run": "broken"}, "no record of a run"),
    ],
)
def test_bad_input_is_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, record in (("bare", '{"runs": []}'), ("broken", "[1]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(record)
        (tmp_path / name / "losses.csv").write_text("iteration,a\n1,1\n")
    with pytest.raises(InputError, match=said):
        write_html(**{"run": "train", **options})


def test_the_command_ends_with_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["html", "--run", "nowhere"])
    monkeypatch.delitem(sys.modules, "scripts.report.html")
    with pytest.raises(SystemExit, match="error: nowhere"):
        runpy.run_module("scripts.report.html", run_name="__main__")


# ---- in a browser ----------------------------------------------------------------------------------------------------
PIXELS = """(async () => {
  const image = document.querySelector('#%s img'), canvas = document.createElement('canvas');
  await image.decode();
  canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  return [...context.getImageData(0, 0, canvas.width, canvas.height).data].join();
})()"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One browser for all tests of this file."""
    if (program := browser()) is None:
        pytest.skip("no Chromium on this machine")
    with Page(program, tmp_path_factory.mktemp("profile")) as shown:
        yield shown


@pytest.fixture
def opened(chromium: Page, page: Path) -> Any:
    """The page in Chromium."""
    chromium("Emulation.clearDeviceMetricsOverride")
    chromium.open(page)
    yield chromium
    assert chromium.errors() == []
    assert [a[:60] for a in chromium.addresses() if not a.startswith(("file:", "data:"))] == []


def test_keys_move_the_sliders_and_the_pictures(opened: Page) -> None:
    for name, said in (
        ("plane-z", r"z = \d+ \(0 to 15\)"),
        ("plane-x", r"x = \d+ \(0 to 63\)"),
        ("cycle-y", r"iteration \d+"),
    ):
        told = f"document.querySelector('#{name} output').textContent"
        opened.evaluate(f"document.querySelector('#{name}-slider').focus()")
        before = opened.evaluate(PIXELS % name), opened.evaluate(told)
        opened.press("ArrowLeft", 37)
        after = opened.evaluate(PIXELS % name), opened.evaluate(told)
        assert re.fullmatch(said, after[1])
        assert before[0] != after[0] and before[1] != after[1]
        opened.press("ArrowRight", 39)
        assert opened.evaluate(PIXELS % name) == before[0]


def test_a_plane_shows_where_the_others_cut(opened: Page) -> None:
    line = "document.querySelector('#plane-y .line.across').style.top"
    opened.evaluate("document.querySelector('#plane-z-slider').focus()")
    opened.press("Home", 36)
    assert opened.evaluate(line) == f"{100 * 0.5 / 16}%"
    opened.press("End", 35)
    assert opened.evaluate(line) == f"{100 * 15.5 / 16}%"


def test_layers_are_switched_off_and_on(opened: Page) -> None:
    hidden = "[...document.querySelectorAll('img.instances')].map((image) => getComputedStyle(image).display)"
    switch = "document.querySelector('[data-switch=instances]').click()"
    assert opened.evaluate(hidden) == ["block"] * 3
    opened.evaluate(switch)
    assert opened.evaluate(hidden) == ["none"] * 3
    opened.evaluate(switch)
    assert opened.evaluate(hidden) == ["block"] * 3


CENTRE = """(([name, down, across]) => {
  const box = document.querySelector(`#${name} .stage`).getBoundingClientRect();
  return [box.left + across * box.width, box.top + down * box.height];
})(%s)"""
TOLD = "['z', 'y', 'x'].map((axis) => parseInt(document.querySelector(`#plane-${axis} output`).textContent.slice(4)))"
LINES = """['z', 'y', 'x'].map((axis) => [['across', 'top'], ['down', 'left']].map(
  ([line, side]) => parseFloat(document.querySelector(`#plane-${axis} .line.${line}`).style[side])))"""


def click(shown: Page, plane: str, down: float, across: float) -> None:
    """Click into a section, at shares of its sides."""
    shown.evaluate(f"document.querySelector('#{plane}').scrollIntoView({{behavior: 'instant'}})")
    x, y = shown.evaluate(CENTRE % json.dumps([plane, down, across]))
    for kind in ("mousePressed", "mouseReleased"):
        shown("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)


def test_a_click_into_a_section_moves_all_three_planes(opened: Page) -> None:
    click(opened, "plane-y", 0.26, 0.8)  # z down, x across
    z, _, x = opened.evaluate(TOLD)
    assert (z, abs(x - 0.8 * 64) <= 2) == (4, True)
    click(opened, "plane-z", 0.1, 0.3)
    assert opened.evaluate(TOLD)[0] == z
    (down, across), (deep, _), (also_deep, along) = opened.evaluate(LINES)
    assert [down, across] == pytest.approx([10, 30], abs=1) and deep == also_deep and along == down
    assert opened.evaluate("document.querySelector('#plane-x-slider').getAttribute('aria-valuetext')").startswith(
        "x = "
    )


def test_zoom_enlarges_about_the_place_and_stops_at_its_ends(opened: Page) -> None:
    click(opened, "plane-z", 0.7, 0.4)
    width = "document.querySelector('#plane-z .stage').clientWidth"
    plain, bar = opened.evaluate(width), opened.evaluate(BAR % "z")
    for times in (3, 20):
        opened.evaluate(f"for (let i = 0; i < {times}; i++) document.querySelector('[data-zoom=\"1\"]').click()")
    assert opened.evaluate(width) > 7 * plain
    assert opened.evaluate("document.querySelector('[data-zoom=\"1\"]').getAttribute('aria-disabled')") == "true"
    larger = opened.evaluate(BAR % "z")
    assert larger[1] / larger[0] > 7 * bar[1] / bar[0]
    line, frame = (opened.evaluate(MIDDLE % selector) for selector in ("#plane-z .line.down", "#plane-z .scroll"))
    assert line == pytest.approx(frame, abs=10)
    click(opened, "plane-z", 0.7, 0.4)  # still where it points
    assert opened.evaluate(LINES)[0] == pytest.approx([70, 40], abs=0.5)
    opened.evaluate("for (let i = 0; i < 20; i++) document.querySelector('[data-zoom=\"-1\"]').click()")
    assert opened.evaluate(width) == pytest.approx(plain, abs=1)


def test_the_wheel_with_ctrl_zooms_about_the_pointer_and_a_drag_moves_the_section_alone(opened: Page) -> None:
    click(opened, "plane-z", 0.7, 0.4)
    before = opened.evaluate(LINES)
    x, y = opened.evaluate(CENTRE % json.dumps(["plane-z", 0.3, 0.2]))
    for _ in range(2):
        opened("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-1, modifiers=2)
    assert opened.evaluate("document.querySelector('[data-zoomed]').textContent") == "2×"
    assert opened.evaluate(CENTRE % json.dumps(["plane-z", 0.3, 0.2])) == pytest.approx([x, y], abs=2)
    for kind, step in (("mousePressed", 0), ("mouseMoved", 10), ("mouseMoved", 40), ("mouseReleased", 40)):
        opened("Input.dispatchMouseEvent", type=kind, x=x - step, y=y, button="left", buttons=1, clickCount=1)
    assert opened.evaluate(CENTRE % json.dumps(["plane-z", 0.3, 0.2])) == pytest.approx([x - 40, y], abs=2)
    assert opened.evaluate(LINES) == before


MIDDLE = """(() => {
  const box = document.querySelector('%s').getBoundingClientRect();
  return box.left + box.width / 2;
})()"""
BAR = """(() => {
  const bar = document.querySelector('#plane-%s .bar');
  return [parseFloat(bar.textContent), bar.getBoundingClientRect().width];
})()"""


def test_scale_bars_are_as_long_as_they_say(opened: Page) -> None:
    for axis, across in (("z", 64), ("y", 64), ("x", 64)):
        told, pixels = opened.evaluate(BAR % axis)
        assert (
            told in (1, 2, 5, 10, 20)
            and opened.evaluate(f"document.querySelector('#plane-{axis} .bar').innerText")[-2:] == "µm"
        )
        stage = opened.evaluate(f"document.querySelector('#plane-{axis} .stage').clientWidth")
        assert pixels == pytest.approx(told / across * stage, abs=1)


def test_no_scale_bar_where_the_voxel_size_is_unknown(run: Path, tmp_path: Path, balls: np.ndarray) -> None:
    write_volume(tmp_path / "plain.tif", (balls > 0).astype(np.uint8))
    given: dict[str, Any] = {"image": str(tmp_path / "plain.tif"), "instances": str(tmp_path / "labelY.tif")}
    write_html(str(run), str(tmp_path / "a.html"), **given)
    assert 'class="bar"' not in (tmp_path / "a.html").read_text()
    write_html(str(run), str(tmp_path / "a.html"), voxel_size=[2, 0.5, 0.5], **given)
    assert (tmp_path / "a.html").read_text().count('class="bar"') == 3
    write_html(str(run), str(tmp_path / "a.html"), voxel_size=[2, 0.5, 0.5], expansion=4, **given)
    text = (tmp_path / "a.html").read_text()
    assert text.count('"micrometres": 8.0') == 3 and "those before its expansion by 4." in text
    with pytest.raises(InputError, match="--expansion: found 0"):
        write_html(str(run), str(tmp_path / "a.html"), expansion=0, **given)


def test_a_button_with_a_place_shows_that_voxel(opened: Page) -> None:
    opened.evaluate("document.body.insertAdjacentHTML('beforeend', '<button data-place=\"3 40 9\">1</button>')")
    opened.evaluate("document.querySelector('[data-place]').click()")
    assert opened.evaluate(LINES)[0] == pytest.approx([100 * 40.5 / 64, 100 * 9.5 / 64], abs=0.01)
    z, y, x = opened.evaluate(TOLD)
    assert z == 3 and abs(y - 40) <= 1 and abs(x - 9) <= 1


def test_a_strip_shows_on_which_sides_there_is_more(opened: Page) -> None:
    strip = "document.querySelector('#cycle-x .scroll')"
    assert opened.evaluate(f"{strip}.className") == "scroll"
    opened("Emulation.setDeviceMetricsOverride", width=200, height=700, deviceScaleFactor=1, mobile=True)
    wait = "new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))"
    opened.evaluate(wait)
    assert opened.evaluate(f"[{strip}.className, {strip}.tabIndex]") == ["scroll more-right", 0]
    opened.evaluate(f"{strip}.scrollLeft = 9999")
    opened.evaluate(wait)
    assert opened.evaluate(f"{strip}.className") == "scroll more-left"


def test_the_page_fits_a_phone(opened: Page) -> None:
    opened("Emulation.setDeviceMetricsOverride", width=360, height=700, deviceScaleFactor=1, mobile=True)
    assert opened.evaluate("document.documentElement.scrollWidth") == 360


# ---- sections and objects --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("chunks", [(1, 70, 1100), (4, 64, 64), (7, 70, 100)])
def test_parts_make_up_the_volume_and_its_sections(monkeypatch: pytest.MonkeyPatch, chunks: tuple[int, ...]) -> None:
    monkeypatch.setattr("scripts.report.sections.VOXELS", 40_000)
    volume = np.random.default_rng(0).integers(0, 9, (5, 70, 1100)).astype(np.uint16).view(Chunked)
    volume.chunks = chunks
    seen, image, labels = np.zeros(volume.shape, int), Sections(volume.shape), Sections(volume.shape, volume.dtype)
    for box, part in parts_of(volume):
        seen[box] += 1
        image.add(box, part)
        labels.add(box, part)
    assert (seen == 1).all()
    assert image.places[0] == [0, 1, 2, 3, 4] and len(image.places[1]) == MOST
    plain = np.asarray(volume)
    # a side of 1100 is shrunk by 3, to the mean of the plane's voxels or the first of them
    np.testing.assert_array_equal(labels.pictures[0], plain[:, :, :1098:3])
    np.testing.assert_allclose(image.pictures[0], plain[:, :, :1098].reshape(5, 70, 366, 3).mean(3), rtol=1e-5)
    np.testing.assert_array_equal(labels.pictures[1], plain[:, image.places[1], :1098:3].transpose(1, 0, 2))
    np.testing.assert_array_equal(labels.pictures[2], plain[:, :, image.places[2]].transpose(2, 0, 1))


class Chunked(np.ndarray):
    chunks: tuple[int, ...]


def test_cuts_reach_from_end_to_end_and_are_bounded() -> None:
    assert section_places(1) == [0]
    assert section_places(5) == [0, 1, 2, 3, 4]
    many = section_places(100_000)
    assert (len(many), many[0], many[-1]) == (MOST, 0, 99_999)
    huge = Sections((3, SIDE * 40, SIDE + 1), np.dtype(np.uint8))
    assert [stack.shape for stack in huge.pictures] == [(3, SIDE, SIDE // 2), (MOST, 3, SIDE // 2), (MOST, 3, SIDE)]


def test_objects_are_measured_in_voxels_or_micrometres(tmp_path: Path) -> None:
    labels = np.zeros((4, 20, 20), np.uint16)
    labels[:2, :3, :3], labels[:2, :3, 10:13], labels[3, 19, 19] = 7, 2, 300
    write_volume(tmp_path / "labels.h5", labels, (2.0, 1.0, 0.5))
    with_file = open_volume(tmp_path / "labels.h5")
    in_voxels, in_um = measure_objects(with_file), measure_objects(with_file, (2.0, 1.0, 0.5))
    assert sorted(in_voxels.sizes) == [1, 18, 18]
    assert sorted(in_um.sizes) == [1, 18, 18]
    far = np.sqrt((2.5 * 2) ** 2 + 18**2 + (8 / 2) ** 2)
    np.testing.assert_allclose(sorted(in_um.distances), [5, 5, far])
    assert min(in_voxels.distances) == 10
    both = joined_objects([in_voxels, in_um])
    assert (len(both.sizes), len(both.distances)) == (6, 6)


def test_a_single_object_has_no_neighbour_and_no_object_no_size(tmp_path: Path) -> None:
    labels = np.zeros((4, 8, 8), np.float32)
    write_volume(tmp_path / "none.nii", labels)
    labels[1, 2, 3] = 1
    write_volume(tmp_path / "one.nii", labels)
    one, none = (measure_objects(open_volume(tmp_path / f"{name}.nii")) for name in ("one", "none"))
    assert (one.sizes.tolist(), one.distances.tolist()) == ([1], [])
    assert (none.sizes.tolist(), none.distances.tolist()) == ([], [])


# ---- frames ----------------------------------------------------------------------------------------------------------
def test_overlays_are_clear_but_for_objects(balls: np.ndarray) -> None:
    [frame] = overlay_frames(balls[8:9], {1: 0, 2: 1, 3: 2, 4: 3})
    picture = decoded(frame)
    rows, columns = picture.shape[0] // 64, picture.shape[1] // 64
    plane = balls[8].repeat(rows, 0).repeat(columns, 1)
    alpha = picture[..., 3]
    assert (alpha[plane == 0] == 0).all()
    np.testing.assert_array_equal(alpha == 255, outline(plane))
    np.testing.assert_array_equal(picture[plane == 2][0, :3], (PALETTE[1] * 255).round())


def test_grey_frames_share_one_range() -> None:
    stacks = [np.full((1, 20, 20), 10.0), np.concatenate([np.full((1, 20, 20), 10.0), np.full((1, 20, 20), 30.0)])]
    frames = grey_frames(stacks)
    assert [round(float(decoded(frame)[..., 0].mean())) for stack in frames for frame in stack] == [0, 0, 255]


# ---- charts ----------------------------------------------------------------------------------------------------------
def test_axes_go_from_values_to_pixels() -> None:
    assert Axis(0, 10, 100, 200)(np.array([0, 5, 10, 99])).tolist() == [100, 150, 200, 200]
    assert Axis(1, 100, 0, 50, log=True)(np.array([1, 10, 100])).tolist() == pytest.approx([0, 25, 50])
    assert [text for _, text in Axis(0, 3000, 0, 1).ticks] == ["0", "1,000", "2,000", "3,000"]
    assert [text for _, text in Axis(-1, 1, 0, 1).ticks] == ["−1", "−0.5", "0", "0.5", "1"]


def test_a_term_has_its_warm_up_marked_and_a_scale_that_shows_it() -> None:
    steps = np.arange(1.0, 1001.0)
    falling = loss_chart("cycle_x", steps, 1 / steps, 1000, warm_up=250)
    assert falling.y.log and falling.y_name == "loss, logarithmic"
    assert falling.band is not None and falling.band[1] == pytest.approx(falling.x(np.asarray(250.0)))
    flat = loss_chart("structure", steps, np.ones(1000), 1000)
    assert not flat.y.log and flat.band is None
    assert all(chart.lines[0][1].count("L") <= 401 for chart in (falling, flat))
    alone = loss_chart("loss", np.array([5.0]), np.array([0.0]), 5)
    assert alone.lines[0][1].endswith("h0.01")


def test_histograms_compare_shares_on_one_axis() -> None:
    groups = {"X": np.full(10, 50.0), "Y": np.full(1000, 500.0), "none": np.zeros(0)}
    chart = histogram_chart("Size", "voxels", groups, log=True)
    assert chart is not None
    tops = [min(float(y) for y in re.findall(r"[ML ][\d.]+ ([\d.]+)", path)) for _, path in chart.lines[:2]]
    assert tops[0] == tops[1]  # all of each are in one bin
    assert [text for _, text in chart.legend] == [
        "X: 10 objects, median 50",
        "Y: 1,000 objects, median 500",
        "none: 0 objects",
    ]
    assert histogram_chart("Size", "voxels", {"X": np.zeros(0)}, log=True) is None


# ---- the record ------------------------------------------------------------------------------------------------------
def test_the_record_is_told_in_words(run: Path, tmp_path: Path) -> None:
    folder = read_run(run)
    facts = dict(facts_of(folder))
    assert facts["iterations"] == "40"
    assert facts["started"] == "2026-01-02 03:04:05+01:00"
    assert facts["volume label_x"] == str(tmp_path / "labelX.tif")
    assert "volume label_y" not in facts
    (_, typed), (_, again) = commands_of(folder)
    assert typed.startswith(f"cd {tmp_path}\npython -m monai.bundle run training")
    assert again.endswith(f"--config_file {run / 'configuration.yaml'}")


def test_an_unfinished_run_says_so(run: Path) -> None:
    unfinished = {**START, "ended": None, "command": None, "code": None, "iterations": 5000}
    (run / "run.json").write_text(json.dumps({"runs": [START, unfinished]}))
    facts = dict(facts_of(read_run(run)))
    assert facts["ended"].startswith("not recorded")
    assert facts["code"] == "no git checkout"
    assert facts["iterations"] == "5,000 to be done"
    assert facts["started before (1)"] == "2026-01-02 03:04:05+01:00"
    assert len(commands_of(read_run(run))) == 1


def test_many_changed_files_are_counted(run: Path) -> None:
    changed = {**START, "code": {"commit": "0123abc", "changed": [f"{n}.py" for n in range(9)]}}
    (run / "run.json").write_text(json.dumps({"runs": [changed]}))
    assert dict(facts_of(read_run(run)))["code"].endswith("4.py, 5.py, 3 more")


def test_the_choice_without_labels_is_among_the_facts(run: Path) -> None:
    score = {"value": 0.71234, "low": 0.65, "high": 0.77}
    candidates = [
        {"name": "source only", "score": score, "vetoes": []},
        {"name": "iteration 40", "score": score, "vetoes": ["nothing is found"]},
    ]
    judged = {"candidates": candidates, "chosen": "source only", "reason": "it is the only one that is not vetoed"}
    (run / "judge.json").write_text(json.dumps(judged))
    facts = dict(facts_of(read_run(run)))
    assert facts["weights chosen without labels"] == "source only: it is the only one that is not vetoed"
    assert facts["judged: source only"] == "score 0.712 (0.650 to 0.770)"
    assert facts["judged: iteration 40"] == "score 0.712 (0.650 to 0.770); nothing is found"
    for text in ('{"chosen": "x"}', "[", '{"candidates": [{"name": "a"}], "chosen": "a", "reason": ""}'):
        (run / "judge.json").write_text(text)
        with pytest.raises(InputError, match=r"judge\.json: no judgement can be read"):
            read_run(run)


def test_spans_of_time_are_short() -> None:
    at = "2026-01-01T00:00:00+00:00"
    later = ("2026-01-01T00:00:12+00:00", "2026-01-01T00:18:30+00:00", "2026-01-02T01:05:00+00:00")
    assert [span(at, end) for end in later] == ["12 s", "18 min", "25 h 5 min"]
