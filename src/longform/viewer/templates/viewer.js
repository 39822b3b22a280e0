"use strict";
// Charts that tell values, lists that are moved through by keys, and pages that follow a run. Nothing here is needed to read.

const SVG = "http://www.w3.org/2000/svg";

class InteractiveChart {
  constructor(svg) {
    this.svg = svg;
    this.tip = svg.parentElement.querySelector(".tip");
    this.data = JSON.parse(svg.dataset.chart);
    this.whole = this.data.scales.x.slice(0, 2);
    this.range = this.whole.slice();
    this.steps = [...new Set(this.data.lines.flatMap((line) => line.points.map((point) => point[0])))].sort((a, b) => a - b);
    this.smoothing = 0;
    this.drawn = [...svg.querySelectorAll("path[fill=none]"), ...svg.querySelectorAll("g")].filter((it) => this.isLine(it));
    this.layer = this.svg.appendChild(document.createElementNS(SVG, "g"));
    this.cursor = this.svg.appendChild(document.createElementNS(SVG, "line"));
    this.cursor.setAttribute("stroke", "currentColor");
    this.cursor.setAttribute("visibility", "hidden");
    svg.addEventListener("pointermove", (event) => this.onMove(event));
    svg.addEventListener("pointerleave", () => this.read(null));
    svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.pointerType === "touch") return;
      this.start = this.at(event);
      event.preventDefault();
    });
    svg.addEventListener("pointerup", (event) => this.onUp(event));
    svg.addEventListener("dblclick", () => this.zoom(this.whole));
    svg.addEventListener("keydown", (event) => this.onKey(event));
    if (this.data.href) svg.style.cursor = "pointer";
  }

  isLine(element) {
    const colours = this.data.lines.map((line) => line.colour);
    if (element.tagName === "path") return colours.includes(element.getAttribute("stroke"));
    return colours.includes(element.getAttribute("fill")) && element.querySelector("circle") !== null;
  }

  at(event) {
    const box = this.svg.getBoundingClientRect();
    const pixel = ((event.clientX - box.left) / box.width) * this.svg.viewBox.baseVal.width;
    const [, , from, to] = this.data.scales.x;
    const [low, high] = this.range;
    return low + ((pixel - from) / (to - from)) * (high - low);
  }

  nearest(value) {
    const seen = this.steps.filter((step) => step >= this.range[0] && step <= this.range[1]);
    return seen.reduce((best, step) => (Math.abs(step - value) < Math.abs(best - value) ? step : best), seen[0]);
  }

  onMove(event) { this.read(this.nearest(this.at(event))); }

  onUp(event) {
    const end = this.at(event);
    const start = this.start;
    this.start = undefined;
    if (start === undefined) return;
    const width = (this.range[1] - this.range[0]) / 30;
    if (Math.abs(end - start) > width) this.zoom([Math.max(this.whole[0], Math.min(start, end)), Math.min(this.whole[1], Math.max(start, end))]);
    else this.open(this.nearest(end));
  }

  onKey(event) {
    const place = this.steps.indexOf(this.step);
    if (event.key === "ArrowRight") this.read(this.steps[Math.min(place + 1, this.steps.length - 1)]);
    else if (event.key === "ArrowLeft") this.read(this.steps[Math.max(place - 1, 0)]);
    else if (event.key === "Escape") this.zoom(this.whole);
    else if (event.key === "Enter" && this.step !== undefined) this.open(this.step);
    else return;
    event.preventDefault();
  }

  open(step) { if (this.data.href && step >= 1) location.href = this.data.href + step; }

  read(step) {
    this.cursor.setAttribute("visibility", step === null || step === undefined ? "hidden" : "visible");
    if (step === null || step === undefined) { this.tip.textContent = ""; return; }
    this.step = step;
    const x = this.pixel("x", step);
    const [, , bottom, top] = this.data.scales.y;
    for (const [name, value] of [["x1", x], ["x2", x], ["y1", bottom], ["y2", top]]) this.cursor.setAttribute(name, value);
    const values = this.data.lines.flatMap((line) => line.points.filter((point) => point[0] === step).map((point) => `${line.label} ${Number(point[1].toPrecision(4))}`));
    this.tip.textContent = `step ${step}: ${values.join(", ")}`;
  }

  pixel(axis, value) {
    const [low, high, from, to] = this.data.scales[axis];
    const range = axis === "x" ? this.range : [low, high];
    return from + ((value - range[0]) / (range[1] - range[0] || 1)) * (to - from);
  }

  zoom(range) {
    if (range[1] - range[0] <= 0) return;
    this.range = range.slice();
    this.redraw();
  }

  get isChanged() { return this.smoothing !== 0 || this.range[0] !== this.whole[0] || this.range[1] !== this.whole[1]; }

  smooth(amount) { this.smoothing = amount; this.redraw(); }

  // Lines are drawn anew in the layer above the picture; its own are hidden meanwhile.
  redraw() {
    const isWhole = this.range[0] === this.whole[0] && this.range[1] === this.whole[1];
    const asDrawn = isWhole && this.smoothing === 0;
    for (const element of this.drawn) element.setAttribute("visibility", asDrawn ? "visible" : "hidden");
    for (const element of this.svg.querySelectorAll(".x")) element.setAttribute("visibility", isWhole ? "visible" : "hidden");
    this.layer.replaceChildren();
    if (asDrawn) return;
    for (const line of this.data.lines) {
      let average;
      const points = line.points.map(([x, y]) => {
        average = average === undefined ? y : this.smoothing * average + (1 - this.smoothing) * y;
        return [x, average];
      }).filter(([x]) => x >= this.range[0] && x <= this.range[1]);
      if (!points.length) continue;
      const path = document.createElementNS(SVG, "path");
      const axis = line.right ? "right" : "y";
      path.setAttribute("d", "M" + points.map(([x, y]) => `${this.pixel("x", x).toFixed(2)} ${this.pixel(axis, y).toFixed(2)}`).join("L"));
      path.setAttribute("fill", "none");
      path.setAttribute("stroke", line.colour);
      path.setAttribute("stroke-width", "2");
      if (line.dashes) path.setAttribute("stroke-dasharray", line.dashes);
      this.layer.append(path);
    }
    if (!isWhole) this.drawTicks();
    this.tip.textContent = isWhole ? "" : `steps ${Math.ceil(this.range[0])} to ${Math.floor(this.range[1])}`;
  }

  // Steps along the axis of an enlarged part, at round numbers.
  drawTicks() {
    const [low, high] = this.range;
    const raw = (high - low) / 5;
    const power = 10 ** Math.floor(Math.log10(raw));
    const size = Math.max(1, [1, 2, 5, 10].find((it) => it * power >= raw) * power);
    for (let step = Math.ceil(low / size) * size; step <= high; step += size) {
      const text = document.createElementNS(SVG, "text");
      text.setAttribute("x", this.pixel("x", step));
      text.setAttribute("y", this.data.scales.y[2] + 15);
      text.setAttribute("text-anchor", "middle");
      text.setAttribute("fill-opacity", ".75");
      text.textContent = step.toLocaleString("en");
      this.layer.append(text);
    }
  }
}

let charts = [];

function prepareCharts() {
  charts = [...document.querySelectorAll("svg[data-chart]")].map((svg) => new InteractiveChart(svg));
  const smoothing = document.getElementById("smoothing");
  if (smoothing) smoothing.addEventListener("input", () => charts.forEach((chart) => chart.smooth(Number(smoothing.value))));
}

function isTyping(event) {
  const isText = event.target.tagName === "INPUT" && !/^(checkbox|radio|range|button|submit)$/.test(event.target.type);
  return event.ctrlKey || event.metaKey || event.altKey || isText || /^(SELECT|TEXTAREA)$/.test(event.target.tagName);
}

function moveTo(row) {
  for (const current of document.querySelectorAll("tr.current")) current.classList.remove("current");
  row.classList.add("current");
  row.querySelector("a").focus();
}

document.addEventListener("keydown", (event) => {
  if (isTyping(event)) return;
  const rows = [...document.querySelectorAll("#choices tr.choice")];
  const place = rows.findIndex((row) => row.classList.contains("current"));
  const link = (rel) => document.querySelector(`a[rel=${rel}]`);
  if (event.key === "j" && rows.length && place < rows.length - 1) moveTo(rows[place + 1]);
  else if (event.key === "k" && place > 0) moveTo(rows[place - 1]);
  else if (event.key === "j" && link("next")) link("next").click();
  else if (event.key === "k" && link("prev")) link("prev").click();
  else if (event.key === "/" && document.querySelector("input[type=search]")) document.querySelector("input[type=search]").focus();
  else return;
  event.preventDefault();
});

// A page of a run is fetched again when the run has a new step. What is open stays open, and the row that is read stays marked;
// while a chart is enlarged or smoothed, the page waits.
async function follow() {
  const mark = document.querySelector("[data-live]");
  if (!mark || document.hidden || document.activeElement.closest("form")) return;
  if (charts.some((chart) => chart.isChanged)) return;
  try {
    const { state } = await (await fetch(mark.dataset.live)).json();
    if (state === mark.dataset.state) return;
    const text = await (await fetch(location.href)).text();
    const fresh = new DOMParser().parseFromString(text, "text/html").querySelector("main");
    const open = [...document.querySelectorAll("main details")].map((it) => it.open);
    const marked = document.querySelector("tr.current a");
    document.querySelector("main").replaceWith(fresh);
    const again = marked && [...document.querySelectorAll("tr.choice a")].find((it) => it.textContent === marked.textContent);
    if (again) again.closest("tr").classList.add("current");
    [...document.querySelectorAll("main details")].forEach((it, place) => { if (place in open) it.open = open[place]; });
    prepareCharts();
  } catch { /* the server is gone; the page stays as it is */ }
}

prepareCharts();
if (document.querySelector("[data-live]")) setInterval(follow, 1000);

// Labelling: a choice is sent with the time that it took, and the next pair is shown when it is on the disk.
const labelled = document.getElementById("label");
const shownAt = performance.now();
const DEAD_TIME = 300; // milliseconds in which a new pair takes no input: a second press was meant for the last one
let isSending = false; // and stays so until the page is gone

async function send(address, body) {
  if (isSending || performance.now() - shownAt < DEAD_TIME) return;
  isSending = true;
  const token = document.querySelector("meta[name=longform-token]").content;
  const problem = document.getElementById("problem");
  try {
    const headers = { "content-type": "application/json", "x-longform-token": token };
    const answer = await fetch(address, { method: "POST", headers, body: JSON.stringify({ person: labelled.dataset.person, ...body }) });
    if (answer.ok) { location.reload(); return; }
    problem.textContent = answer.status === 422 || answer.status === 507 ? (await answer.json()).problem : await answer.text();
  } catch {
    problem.textContent = "The viewer does not answer; start it again and reload this page. Nothing that was sent before is lost.";
  }
  isSending = false;
}

function choose(choice) {
  const criteria = [...document.querySelectorAll("input[name=criterion]:checked")].map((it) => it.value);
  const reasons = document.getElementById("reasons").value;
  send("/labels", { pair_id: labelled.dataset.pair, choice, criteria, reasons, seconds: (performance.now() - shownAt) / 1000 });
}

if (labelled) {
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  for (const button of document.querySelectorAll("[data-choice]")) button.addEventListener("click", () => choose(button.dataset.choice));
  for (const button of document.querySelectorAll("[data-undo]")) button.addEventListener("click", () => send("/labels/undo", {}));
  document.addEventListener("keydown", (event) => {
    if (isTyping(event) || event.repeat) return;
    const choice = { 1: "first", 2: "second", 0: "tie" }[event.key];
    if (choice && labelled.dataset.pair) choose(choice);
    else if (event.key === "u" && !document.querySelector("[data-undo]").disabled) send("/labels/undo", {});
  });
}
