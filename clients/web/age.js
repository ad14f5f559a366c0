// The age of the picture in ms, its rate, and a beat that only a new frame can move.

const REPORT_MS = 250; // digits that change faster cannot be read
const STEPS = 24; // frames to a turn of the beat

export class Age {
  constructor(root) {
    this.value = root.querySelector(".value");
    this.unit = root.querySelector(".unit");
    this.detail = root.querySelector(".detail");
    this.hand = root.querySelector(".hand");
    this.step = 0;
    this.reset();
  }

  reset() {
    this.drawn = [];
    this.worstMs = 0;
    this.reportedMs = -Infinity;
    this.value.textContent = "–";
    this.unit.textContent = "";
    this.detail.textContent = "";
  }

  /** A frame was drawn, delayMs old. */
  beat(delayMs, nowMs, frame, width, height) {
    this.step = (this.step + 1) % STEPS;
    this.hand.setAttribute("transform", `rotate(${(this.step * 360) / STEPS} 16 16)`);
    this.worstMs = Math.max(this.worstMs, delayMs);
    this.drawn.push(nowMs);
    this.size = `${width}×${height}`;
  }

  /** The oldest picture drawn since the last report; without new ones, how old the last one is. */
  tick(ageMs, nowMs, lost) {
    if (nowMs - this.reportedMs < REPORT_MS) return;
    this.reportedMs = nowMs;
    const ms = lost || this.worstMs === 0 ? ageMs : this.worstMs;
    this.worstMs = 0;
    const seconds = ms >= 1000;
    this.value.textContent = seconds ? (ms / 1000).toFixed(1) : String(Math.round(ms));
    this.unit.textContent = seconds ? "s old" : "ms old";
    while (this.drawn.length && nowMs - this.drawn[0] > 2000) this.drawn.shift();
    this.detail.textContent = `${Math.round(this.drawn.length / 2)} fps  ${this.size}`;
  }
}
