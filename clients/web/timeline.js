// The timeline: levels and provenance of the last minutes, newest at the right.

import { KINDS } from "./meters.js";

export const SPAN_MS = 180_000;
const DRAW_MS = 500;
const LANES = [...KINDS, "picture"];

/** Steps of one lane: a value that holds from a moment until the next step. */
class Lane {
  constructor() {
    this.steps = []; // [atMs, value]
  }

  add(atMs, value) {
    const last = this.steps.at(-1);
    if (last && (last[1] === value || atMs < last[0])) return;
    this.steps.push([atMs, value]);
    while (this.steps.length > 1 && this.steps[1][0] < atMs - SPAN_MS) this.steps.shift();
  }
}

export class Timeline {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.drawnMs = -Infinity;
    this.clear();
  }

  clear() {
    this.lanes = Object.fromEntries(LANES.map((name) => [name, new Lane()]));
  }

  /** What the stream remembers from before this page watched it; points: [{atMs, levels}]. */
  seed(points) {
    for (const { atMs, levels } of points) {
      for (const kind of KINDS) this.lanes[kind].add(atMs, levels[kind]);
    }
  }

  /** levels: by kind or null; state: the badge's. */
  add(atMs, levels, state) {
    for (const kind of KINDS) this.lanes[kind].add(atMs, levels === null ? null : levels[kind]);
    this.lanes.picture.add(atMs, state);
  }

  tick(nowMs) {
    if (nowMs - this.drawnMs < DRAW_MS) return;
    this.drawnMs = nowMs;
    this.#draw(nowMs);
  }

  #draw(nowMs) {
    const ratio = window.devicePixelRatio;
    const width = Math.round(this.canvas.clientWidth * ratio);
    const height = Math.round(this.canvas.clientHeight * ratio);
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    const style = getComputedStyle(this.canvas);
    const context = this.context;
    context.clearRect(0, 0, width, height);
    const lane = height / LANES.length;
    const x = (atMs) => width * (1 - (nowMs - atMs) / SPAN_MS);
    context.fillStyle = style.getPropertyValue("--grid");
    for (let minute = 60_000; minute < SPAN_MS; minute += 60_000) {
      context.fillRect(Math.round(x(nowMs - minute)), 0, Math.ceil(ratio), height);
    }
    LANES.forEach((name, index) => {
      const base = Math.round((index + 1) * lane) - Math.ceil(2 * ratio);
      context.fillStyle = style.getPropertyValue("--grid");
      context.fillRect(0, base, width, Math.ceil(ratio));
      const { steps } = this.lanes[name];
      steps.forEach(([atMs, value], step) => {
        const from = Math.max(0, x(atMs));
        const to = step + 1 < steps.length ? x(steps[step + 1][0]) : width;
        if (to <= from || value === null) return;
        const [share, colour] = this.#mark(name, value, style);
        const tall = Math.round((lane - 5 * ratio) * share);
        context.fillStyle = colour;
        context.fillRect(from, base - tall, Math.max(to - from, ratio), tall);
      });
    });
  }

  #mark(name, value, style) {
    if (name !== "picture") {
      return [value / 4, style.getPropertyValue(`--level-${value}`) || "transparent"];
    }
    const token = value.replace(" ", "_");
    const share = { RESTORED: 0.9, RAW: 0.3, LATE: 0.45, STALE: 0.6, NO_SIGNAL: 0.9 }[token];
    return [share, style.getPropertyValue(`--state-${token}`)];
  }
}
