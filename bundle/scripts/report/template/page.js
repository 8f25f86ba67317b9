"use strict";

const viewers = [...document.querySelectorAll(".viewer")].map((element) => ({
  element,
  slider: element.querySelector("input[type=range]"),
  told: element.querySelector("output"),
  images: [...element.querySelectorAll("img")],
  ...JSON.parse(document.getElementById(element.dataset.frames).textContent),
}));

// Each plane is crossed by the two others: the lines go where their sliders are, from the first to the last of z, y, x.
function drawLines() {
  const planes = viewers.filter((viewer) => viewer.places.length);
  planes.forEach((viewer) => {
    const [down, across] = planes.filter((other) => other !== viewer).map((other) => other.places[other.slider.value]);
    viewer.element.querySelector(".line.across").style.top = `${100 * down}%`;
    viewer.element.querySelector(".line.down").style.left = `${100 * across}%`;
  });
}

function show(viewer) {
  const number = viewer.slider.value;
  viewer.images.forEach((image) => { image.src = viewer.layers[image.dataset.layer][number]; });
  const caption = viewer.captions[number];
  viewer.images[0].alt = `${viewer.alt}, ${caption}`;
  viewer.told.textContent = caption;
  viewer.slider.setAttribute("aria-valuetext", caption);
  drawLines();
}

viewers.forEach((viewer) => {
  viewer.slider.addEventListener("input", () => show(viewer));
  show(viewer);
});

document.querySelectorAll("[data-switch]").forEach((box) => {
  box.addEventListener("change", () => {
    document.querySelectorAll(`.layer.${box.dataset.switch}`).forEach((image) => { image.hidden = !box.checked; });
  });
});
