"use strict";
// Draws each chart as wide as its place, when it comes near to what is seen, and again when its place changes.
const specs = JSON.parse(document.getElementById("charts").textContent);
const BESIDE = 62; // pixels of a chart left and right of its panel
const NARROW = 480; // pixels, where a note takes several lines
const NEAR = "800px";

function fitted(spec, width) {
  const copy = structuredClone(spec);
  for (const panel of copy.vconcat ?? [copy]) {
    panel.width = Math.max(160, width - BESIDE);
    if (width < NARROW && panel.title.subtitle) panel.title.subtitle = panel.title.subtitle.split("; ");
  }
  return copy;
}

async function draw(figure) {
  const width = Math.floor(figure.clientWidth);
  if (width === figure.drawnWidth || width === 0) return;
  figure.drawnWidth = width;
  figure.drawn?.finalize();
  figure.replaceChildren(document.createElement("div"));
  const actions = { export: true, source: false, compiled: false, editor: false };
  figure.drawn = await vegaEmbed(figure.firstChild, fitted(specs[figure.dataset.chart], width), { renderer: "svg", actions });
}

const resized = new ResizeObserver((entries) => entries.forEach((entry) => draw(entry.target)));
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    resized.observe(target);
  }
}, { rootMargin: NEAR });
const figures = [...document.querySelectorAll("figure[data-chart]")];
figures.forEach((figure) => near.observe(figure));
addEventListener("beforeprint", () => figures.forEach(draw));
