// The state badge: what the picture on the screen is, from its own flags and its age alone.

import { Flag } from "./wire.js";

export const State = Object.freeze({
  RESTORED: "RESTORED",
  RAW: "RAW",
  LATE: "LATE",
  STALE: "STALE",
  NO_SIGNAL: "NO SIGNAL",
});

// warn: a picture this old when drawn is marked; quiet: so is one that no newer one follows;
// stop: older than this it is no picture to operate by. The service's own figures come with its
// welcome; 105 ms of added lag measurably hurts experienced surgeons (Kumcu et al. 2016).
export const LIMITS = Object.freeze({ warnMs: 100, quietMs: 200, stopMs: 500 });
const STALE_HOLD_MS = 600; // a badge at the edge of the limit must not flicker

const WHY_RAW = {
  CLEAR: "nothing to restore",
  BYPASS: "bypass is on",
  LATE: "restoring took too long",
  GUARD: "the restored picture failed its check",
  ENGINE_DOWN: "the engine is down",
  WARMING: "the engine is warming up",
  SHAPE: "the engine does not take this picture size",
};

/** The limits in force: the service's where it states them. */
export function limitsOf(welcome) {
  const warnMs = welcome.stale_warn_ms ?? LIMITS.warnMs;
  return { warnMs, quietMs: 2 * warnMs, stopMs: welcome.stale_stop_ms ?? LIMITS.stopMs };
}

/**
 * The state of what is on the screen. shown: null, or { frame, content, ageMs, quietMs, delayMs }:
 * ageMs the picture's age now, quietMs the time since it was drawn, delayMs its age when drawn.
 */
export function stateOf(shown, limits) {
  if (shown === null) return { state: State.NO_SIGNAL, why: "no picture yet" };
  const { frame, content, ageMs, quietMs, delayMs } = shown;
  if (frame.flags & Flag.CARD) return { state: State.NO_SIGNAL, why: "the source gives nothing" };
  if (ageMs > limits.stopMs) {
    const why = quietMs > delayMs ? "no new picture" : "the picture is far too late";
    return { state: State.NO_SIGNAL, why };
  }
  const live = liveState(frame, content);
  if (frame.flags & Flag.STALE || delayMs > limits.warnMs || quietMs > limits.quietMs) {
    return { state: State.STALE, why: `old picture, ${live.state.toLowerCase()}` };
  }
  return live;
}

function liveState(frame, content) {
  if (content === "raw") return { state: State.RAW, why: "raw view chosen here" };
  if (frame.flags & Flag.RESTORED) return { state: State.RESTORED, why: "" };
  const state = frame.reason === "LATE" ? State.LATE : State.RAW;
  const why = WHY_RAW[frame.reason] ?? "no reason given";
  return { state, why: state === State.LATE ? `raw: ${why}` : why };
}

export class Badge {
  /** root: the badge; announcer: a polite live region that hears of changes of state only. */
  constructor(root, announcer) {
    this.root = root;
    this.announcer = announcer;
    this.shape = root.querySelector("use");
    this.stateText = root.querySelector(".state");
    this.whyText = root.querySelector(".why");
    this.state = null;
    this.staleUntil = 0;
  }

  /** Shows the state; restoredBy: what a restored picture says of its engine. Returns it. */
  update(shown, limits, nowMs, restoredBy) {
    let { state, why } = stateOf(shown, limits);
    if (state === State.STALE) {
      this.staleUntil = nowMs + STALE_HOLD_MS;
    } else if (state !== State.NO_SIGNAL && nowMs < this.staleUntil) {
      why = `just now too old, ${state.toLowerCase()}`;
      state = State.STALE;
    }
    if (state === State.RESTORED) why = restoredBy;
    if (this.whyText.textContent !== why) this.whyText.textContent = why;
    if (state !== this.state) this.#change(state, why);
    return { state, why };
  }

  #change(state, why) {
    this.state = state;
    const token = state.replace(" ", "_");
    this.root.dataset.state = token;
    document.documentElement.dataset.state = token;
    this.shape.setAttribute("href", `#shape-${token}`);
    this.stateText.textContent = state;
    this.announcer.textContent = why ? `${state}: ${why}` : state;
  }
}
