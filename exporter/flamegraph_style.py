"""What makes a flame graph look and react: style sheet and script inside of the SVG."""

from __future__ import annotations

STYLE = """
text { font: 12px "DejaVu Sans", Verdana, sans-serif; fill: #1c2430; pointer-events: none; }
.title { font-size: 17px; }
.note, .action { fill: #5b6675; }
.action { pointer-events: auto; cursor: pointer; text-decoration: underline; }
.frame { cursor: pointer; }
.frame rect { stroke: #fff; stroke-width: .5; }
.frame:hover rect, .frame:focus rect { stroke: #1c2430; stroke-width: 1; }
.frame.outer rect { opacity: .45; }
.frame.found rect { fill: #7a4fd0; }
.frame.found text { fill: #fff; }
.hidden { display: none; }
"""

# Widths are shares of the whole; the script places frames for the part that is zoomed to.
SCRIPT = """
"use strict";
const svg = document.documentElement;
const frames = [...svg.querySelectorAll(".frame")].map(node => ({
  node, rect: node.querySelector("rect"), text: node.querySelector("text"),
  name: node.dataset.name, x: +node.dataset.x, w: +node.dataset.w, depth: +node.dataset.depth,
}));
const WIDTH = +svg.dataset.width, LEFT = +svg.dataset.left, LETTER = 6.9;
const told = document.getElementById("told"), back = document.getElementById("back");
let zoomed = null;

function draw() {
  const start = zoomed ? zoomed.x : 0, part = zoomed ? zoomed.w : 1;
  for (const f of frames) {
    const outer = zoomed !== null && f.depth < zoomed.depth
      && f.x <= zoomed.x + 1e-9 && f.x + f.w >= zoomed.x + zoomed.w - 1e-9;
    const left = outer ? 0 : (f.x - start) / part * WIDTH;
    const width = outer ? WIDTH : f.w / part * WIDTH;
    const inside = outer || (left > -0.01 && left + width < WIDTH + 0.01
      && (zoomed === null || f.depth >= zoomed.depth));
    f.node.classList.toggle("hidden", !inside || width < 0.3);
    f.node.classList.toggle("outer", outer);
    f.rect.setAttribute("x", LEFT + left);
    f.rect.setAttribute("width", width);
    f.text.setAttribute("x", LEFT + left + 3);
    const room = Math.floor((width - 6) / LETTER);
    f.text.textContent = room < 3 ? "" : f.name.length <= room ? f.name
      : f.name.slice(0, room - 1) + "\\u2026";
  }
  back.classList.toggle("hidden", zoomed === null);
}

function zoom(frame) {
  zoomed = frame && frame.w < 1 ? frame : null;
  draw();
}

function search(wanted) {
  const words = (wanted || "").toLowerCase();
  const found = frames.filter(f => {
    const hit = words !== "" && f.name.toLowerCase().includes(words);
    f.node.classList.toggle("found", hit);
    return hit;
  });
  // A frame within a found one is part of it: only the outermost count.
  found.sort((a, b) => a.x - b.x || a.depth - b.depth);
  let end = 0, share = 0;
  for (const f of found) {
    if (f.x >= end - 1e-9) { share += f.w; end = f.x + f.w; }
  }
  told.textContent = words === "" ? "" : `${wanted}: ${found.length} frames, ` +
    `${(100 * share).toFixed(1)} %`;
}

for (const f of frames) {
  f.node.addEventListener("click", () => zoom(f));
  f.node.addEventListener("keydown", event => { if (event.key === "Enter") zoom(f); });
}
back.addEventListener("click", () => zoom(null));
document.getElementById("search").addEventListener("click",
  () => search(prompt("Find frames whose name contains") || ""));
document.addEventListener("keydown", event => {
  if (event.key === "Escape") { zoom(null); search(""); }
});
draw();
"""
