// The picture on the screen: raw, restored, wipe, side by side, blink or difference of ONE frame.

import { Want } from "./feed.js";
import { Flag } from "./wire.js";

export const VIEWS = Object.freeze({
  restored: { name: "Restored", want: Want.RESTORED },
  raw: { name: "Raw", want: Want.BOTH },
  wipe: { name: "Wipe", want: Want.BOTH },
  side: { name: "Side by side", want: Want.BOTH },
  blink: { name: "Blink", want: Want.BOTH },
  difference: { name: "Difference", want: Want.BOTH },
});

export const DIFFERENCE_GAIN = 4;
const BLINK_MS = 800; // well under the 3 flashes a second that can do harm

/** What the pixels of the output are, in words that are true of this frame. */
export function outputName(frame) {
  if (frame.flags & Flag.CARD) return "NO SIGNAL";
  return frame.flags & Flag.RESTORED ? "RESTORED" : "RAW";
}

export class Views {
  /** stage holds the canvas, the labels and the wipe handle. */
  constructor(stage) {
    this.stage = stage;
    this.canvas = stage.querySelector("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.labels = [...stage.querySelectorAll(".label")];
    this.handle = stage.querySelector(".wipe");
    this.view = "restored";
    this.wipe = 0.5;
    this.picture = null; // { frame, bitmap, want }
    this.blinkRaw = false;
    this.blinkSince = 0;
    new ResizeObserver(() => this.#draw()).observe(stage);
    this.#listen();
  }

  choose(view) {
    this.view = view;
    this.stage.dataset.view = view;
    this.#draw();
  }

  /** Shows a newer frame; takes the bitmap over. */
  show(frame, bitmap, want) {
    this.picture?.bitmap.close();
    this.picture = { frame, bitmap, want };
    this.#draw();
    this.canvas.dataset.seq = String(frame.seq);
  }

  /** Forgets the picture: another stream was chosen. */
  clear() {
    this.picture?.bitmap.close();
    this.picture = null;
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    delete this.canvas.dataset.seq;
    this.#label([]);
    this.handle.hidden = true;
  }

  /** Called for each screen refresh: only blink moves by itself. */
  tick(nowMs) {
    if (this.view !== "blink" || nowMs - this.blinkSince < BLINK_MS) return;
    this.blinkSince = nowMs;
    this.blinkRaw = !this.blinkRaw;
    this.#draw();
  }

  /** "raw" when nothing but the camera's pixels is on the screen, else "output". */
  get content() {
    return this.view === "raw" && this.picture && this.picture.want !== Want.RESTORED
      ? "raw"
      : "output";
  }

  #draw() {
    if (!this.picture) return;
    const { frame, bitmap, want } = this.picture;
    const output = outputName(frame);
    const both = want === Want.BOTH;
    const size = { w: bitmap.width, h: both ? bitmap.height / 2 : bitmap.height };
    this.size = size;
    const view = both ? this.view : want;
    this.handle.hidden = view !== "wipe";
    const stacked = this.#stacks(size);
    const canvasSize = view === "side" ? sideSize(size, stacked) : size;
    this.#resize(canvasSize);
    const raw = (x, y) => this.#half(0, x, y);
    const out = (x, y) => this.#half(both ? size.h : 0, x, y);
    if (view === "raw") {
      raw(0, 0);
      this.#label([["RAW", "left"]]);
    } else if (view === "wipe") {
      this.#wipe(raw, out);
      this.#label([["RAW", "left"], [output, "right"]]);
    } else if (view === "side") {
      raw(0, 0);
      if (stacked) out(0, size.h);
      else out(size.w, 0);
      this.#label([["RAW", stacked ? "upper" : "left"], [output, stacked ? "left" : "middle"]]);
    } else if (view === "blink") {
      (this.blinkRaw ? raw : out)(0, 0);
      this.#label([[this.blinkRaw ? "RAW" : output, "left", "large"]]);
    } else if (view === "difference") {
      this.#difference(raw, out);
      this.#label([[`DIFFERENCE ×${DIFFERENCE_GAIN}`, "left"]]);
    } else {
      out(0, 0);
      this.#label(this.view === view ? [] : [[output, "left"]]);
    }
  }

  #half(top, x, y) {
    const { w, h } = this.size;
    this.context.drawImage(this.picture.bitmap, 0, top, w, h, x, y, w, h);
  }

  #wipe(raw, out) {
    const { w, h } = this.size;
    const edge = Math.round(w * this.wipe);
    out(0, 0);
    this.context.save();
    this.context.beginPath();
    this.context.rect(0, 0, edge, h);
    this.context.clip();
    raw(0, 0);
    this.context.restore();
    this.#place(edge / w);
  }

  // |raw - output|, then added to itself: doubled as often as the gain says.
  #difference(raw, out) {
    raw(0, 0);
    this.context.globalCompositeOperation = "difference";
    out(0, 0);
    this.context.globalCompositeOperation = "lighter";
    for (let gain = 1; gain < DIFFERENCE_GAIN; gain *= 2) {
      this.context.drawImage(this.canvas, 0, 0);
    }
    this.context.globalCompositeOperation = "source-over";
  }

  #resize({ w, h }) {
    if (this.canvas.width === w && this.canvas.height === h) return;
    this.canvas.width = w;
    this.canvas.height = h;
  }

  /** One above the other where that makes the pictures larger. */
  #stacks({ w, h }) {
    const { clientWidth, clientHeight } = this.stage;
    const beside = Math.min(clientWidth / (2 * w), clientHeight / h);
    const above = Math.min(clientWidth / w, clientHeight / (2 * h));
    return above > beside;
  }

  /** The picture's place in the stage, in CSS pixels. */
  #box() {
    const { clientWidth, clientHeight } = this.stage;
    const scale = Math.min(clientWidth / this.canvas.width, clientHeight / this.canvas.height);
    const [w, h] = [this.canvas.width * scale, this.canvas.height * scale];
    return { x: (clientWidth - w) / 2, y: (clientHeight - h) / 2, w, h };
  }

  #place(share) {
    const box = this.#box();
    this.handle.style.setProperty("--x", `${box.x + box.w * share}px`);
    this.handle.style.setProperty("--top", `${box.y}px`);
    this.handle.style.setProperty("--height", `${box.h}px`);
    const percent = Math.round(share * 100);
    this.handle.setAttribute("aria-valuenow", String(percent));
    this.handle.setAttribute("aria-valuetext", `raw on the left ${percent} percent`);
  }

  #label(wanted) {
    const box = this.#box();
    this.stage.style.setProperty("--left", `${box.x}px`);
    this.stage.style.setProperty("--lower", `${box.y}px`);
    this.labels.forEach((label, index) => {
      const [text, where, size] = wanted[index] ?? [];
      label.hidden = text === undefined;
      if (text === undefined) return;
      if (label.textContent !== text) label.textContent = text;
      label.dataset.where = where;
      label.dataset.size = size ?? "normal";
      label.dataset.kind = text;
    });
  }

  #listen() {
    let dragging = null;
    const drag = (event) => {
      const box = this.#box();
      const left = this.stage.getBoundingClientRect().left;
      this.#setWipe((event.clientX - left - box.x) / box.w);
    };
    this.stage.addEventListener("pointerdown", (event) => {
      if (this.handle.hidden) return;
      dragging = event.pointerId;
      this.stage.setPointerCapture(dragging);
      this.handle.focus({ preventScroll: true });
      event.preventDefault();
      drag(event);
    });
    this.stage.addEventListener("pointermove", (event) => {
      if (event.pointerId === dragging) drag(event);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      this.stage.addEventListener(end, () => {
        dragging = null;
      });
    }
    this.handle.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.05, ArrowRight: 0.05, Home: -1, End: 1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      this.#setWipe(this.wipe + step);
    });
  }

  #setWipe(share) {
    this.wipe = Math.min(1, Math.max(0, share));
    this.#draw();
  }
}

function sideSize({ w, h }, stacked) {
  return stacked ? { w, h: 2 * h } : { w: 2 * w, h };
}
