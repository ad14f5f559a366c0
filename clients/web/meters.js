// The level meters: smoke, fog and splash, 0-4 each.

export const KINDS = Object.freeze(["smoke", "fog", "splash"]);
const WORDS = ["none", "light", "moderate", "heavy", "total"];

// A frame that left before its analysis came carries no levels, which its header cannot tell from
// levels of 0.
const NOT_ANALYSED = ["BYPASS", "LATE", "ENGINE_DOWN", "WARMING", "SHAPE"];

/**
 * The frame's level, and where its header saturates (3) the stream's own 3 or 4; null for a frame
 * that was not analysed.
 */
export function levelsOf(frame, streamLevels) {
  const nothing = KINDS.every((kind) => frame.levels[kind] === 0);
  if (nothing && NOT_ANALYSED.includes(frame.reason)) return null;
  const full = (kind) => {
    const level = frame.levels[kind];
    return level === 3 && streamLevels?.[kind] === 4 ? 4 : level;
  };
  return Object.fromEntries(KINDS.map((kind) => [kind, full(kind)]));
}

export class Meters {
  constructor(root) {
    this.meters = Object.fromEntries(
      KINDS.map((kind) => [kind, root.querySelector(`[data-kind="${kind}"]`)]),
    );
  }

  /** levels: by kind, or null when there is no live picture to speak of. */
  update(levels) {
    for (const kind of KINDS) {
      const meter = this.meters[kind];
      const level = levels === null ? null : levels[kind];
      const token = level === null ? "none" : String(level);
      if (meter.dataset.level === token) continue;
      meter.dataset.level = token;
      meter.querySelector(".number").textContent = level === null ? "–" : String(level);
      const gauge = meter.querySelector("[role=meter]");
      gauge.setAttribute("aria-valuenow", String(level ?? 0));
      const words = level === null ? "unknown" : `${level}, ${WORDS[level]}`;
      gauge.setAttribute("aria-valuetext", words);
    }
  }
}
