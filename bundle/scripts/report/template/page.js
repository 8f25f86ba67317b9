"use strict";

const viewers = [...document.querySelectorAll(".viewer")].map((element) => ({
  slider: element.querySelector("input[type=range]"),
  told: element.querySelector("output"),
  images: [...element.querySelectorAll("img")],
  frame: element.querySelector(".scroll"),
  stage: element.querySelector(".stage"),
  lines: element.querySelectorAll(".line"),
  bar: element.querySelector(".bar"),
  ...JSON.parse(document.getElementById(element.dataset.frames).textContent),
}));
// Sections across z, y and x, in this order, and the place at which the three meet, as shares of the sides.
const planes = viewers.filter((viewer) => viewer.places.length);
const place = planes.map((viewer) => viewer.places[viewer.slider.value]);
const ZOOMS = [1, 1.5, 2, 3, 4, 6, 8];
let zoom = 1;

// The axes that run down and across a section.
const axesOf = (viewer) => [0, 1, 2].filter((axis) => axis !== planes.indexOf(viewer));

function show(viewer) {
  const number = viewer.slider.value;
  viewer.images.forEach((image) => { image.src = viewer.layers[image.dataset.layer][number]; });
  const caption = viewer.captions[number];
  viewer.images[0].alt = `${viewer.alt}, ${caption}`;
  viewer.told.textContent = caption;
  viewer.slider.setAttribute("aria-valuetext", caption);
}

function drawLines() {
  planes.forEach((viewer) => {
    const [down, across] = axesOf(viewer).map((axis) => place[axis]);
    const [upright, level] = viewer.lines;
    upright.style.left = `${100 * across}%`;
    level.style.top = `${100 * down}%`;
  });
}

// Where a section is larger than its frame, the place is brought to the middle of it.
function centre(viewer) {
  const { frame, stage } = viewer, [down, across] = axesOf(viewer).map((axis) => place[axis]);
  frame.scrollLeft = across * stage.clientWidth - frame.clientWidth / 2;
  frame.scrollTop = down * stage.clientHeight - frame.clientHeight / 2;
}

// Moves to new shares by axis; what is left out stays. Each plane shows the section that is nearest.
function moveTo(shares, still) {
  Object.entries(shares).forEach(([axis, share]) => {
    const { places, slider } = planes[axis];
    const far = places.map((other) => Math.abs(other - share));
    place[axis] = share;
    slider.value = far.indexOf(Math.min(...far));
    show(planes[axis]);
  });
  drawLines();
  planes.filter((viewer) => viewer !== still).forEach(centre);
}

// Moves to a voxel (z, y, x), counted from 0: what a button with data-place="z y x" does.
function showVoxel(voxel) {
  moveTo(voxel.map((at, axis) => (Number(at) + 0.5) / planes[axis].voxels));
  document.getElementById("instances").scrollIntoView();
}

// Lengths of 1, 2 or 5 times a power of ten, a quarter of the frame at most.
function drawBar({ bar, frame, stage, micrometres }) {
  if (!bar || !stage.clientWidth) return;
  const most = (frame.clientWidth / 4 / stage.clientWidth) * micrometres;
  const ten = 10 ** Math.floor(Math.log10(most));
  const length = Number(([5, 2, 1].find((step) => step * ten <= most) * ten).toPrecision(1));
  bar.style.width = `${(length / micrometres) * stage.clientWidth}px`;
  bar.textContent = length >= 1000 ? `${length / 1000} mm` : length < 1 ? `${length * 1000} nm` : `${length} µm`;
}

// Zooms all planes about the place; under a pointer one about what is there.
function setZoom(step, viewer, event) {
  const next = ZOOMS[ZOOMS.indexOf(zoom) + step];
  if (!next) return;
  const before = viewer && viewer.stage.getBoundingClientRect();
  zoom = next;
  const section = document.getElementById("instances");
  section.style.setProperty("--zoom", zoom);
  section.classList.toggle("zoomed", zoom > 1);
  section.querySelector("[data-zoomed]").textContent = `${zoom}×`;
  section.querySelectorAll("[data-zoom]").forEach((button) => {
    button.setAttribute("aria-disabled", !ZOOMS[ZOOMS.indexOf(zoom) + Number(button.dataset.zoom)]);
  });
  planes.forEach(centre);
  planes.forEach(drawBar);
  if (!viewer) return;
  const after = viewer.stage.getBoundingClientRect();
  viewer.frame.scrollLeft += after.left + ((event.clientX - before.left) / before.width) * after.width - event.clientX;
  viewer.frame.scrollTop += after.top + ((event.clientY - before.top) / before.height) * after.height - event.clientY;
}

// A click moves the planes, a drag with the mouse the zoomed section, Ctrl and the wheel zoom.
function listen(viewer) {
  const { frame, stage } = viewer;
  let from = null, dragged = false;
  frame.addEventListener("dragstart", (event) => event.preventDefault());
  frame.addEventListener("pointerdown", (event) => {
    dragged = false;
    from = event.pointerType === "mouse" && event.button === 0 ? [event.clientX, event.clientY] : null;
  });
  frame.addEventListener("pointermove", (event) => {
    if (!from || !(event.buttons & 1)) return;
    const [x, y] = [event.clientX - from[0], event.clientY - from[1]];
    if (!dragged && Math.hypot(x, y) < 4) return;
    if (!dragged) frame.setPointerCapture(event.pointerId);
    [dragged, from] = [true, [event.clientX, event.clientY]];
    frame.scrollBy({ left: -x, top: -y, behavior: "instant" });
  });
  stage.addEventListener("click", (event) => {
    if (dragged) return;
    const box = stage.getBoundingClientRect(), [down, across] = axesOf(viewer);
    const shares = { [down]: (event.clientY - box.top) / box.height, [across]: (event.clientX - box.left) / box.width };
    moveTo(shares, viewer);
  });
  frame.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    setZoom(event.deltaY < 0 ? 1 : -1, viewer, event);
  }, { passive: false });
}

// Shows on which sides there is more, and lets keys scroll.
function markScroll(frame) {
  const rest = frame.scrollWidth - frame.clientWidth;
  frame.classList.toggle("more-left", frame.scrollLeft > 1);
  frame.classList.toggle("more-right", frame.scrollLeft < rest - 1);
  if (rest > 1) frame.tabIndex = 0;
  else frame.removeAttribute("tabindex");
}

viewers.forEach((viewer) => {
  const axis = planes.indexOf(viewer);
  viewer.slider.addEventListener("input", () => {
    if (axis < 0) show(viewer);
    else moveTo({ [axis]: viewer.places[viewer.slider.value] }, viewer);
  });
  show(viewer);
});
planes.forEach(listen);
drawLines();

const sizes = new ResizeObserver(() => {
  planes.forEach(drawBar);
  document.querySelectorAll(".scroll").forEach(markScroll);
});
document.querySelectorAll(".scroll").forEach((frame) => {
  [frame, frame.firstElementChild].forEach((element) => sizes.observe(element));
  frame.addEventListener("scroll", () => markScroll(frame), { passive: true });
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-zoom], [data-place]");
  if (button?.dataset.zoom) setZoom(Number(button.dataset.zoom));
  else if (button) showVoxel(button.dataset.place.split(" "));
});

document.querySelectorAll("[data-switch]").forEach((box) => {
  box.addEventListener("change", () => {
    document.querySelectorAll(`.layer.${box.dataset.switch}`).forEach((image) => { image.hidden = !box.checked; });
  });
});
