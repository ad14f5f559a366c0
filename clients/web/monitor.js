// The monitor: what is on the screen now, judged at each screen refresh.

import { Age } from "./age.js";
import { Badge, LIMITS, State } from "./badge.js";
import { Clock } from "./clock.js";
import { Deadman } from "./deadman.js";
import { Meters, levelsOf } from "./meters.js";
import { Order, Verdict } from "./order.js";
import { Decoder } from "./picture.js";
import { Timeline } from "./timeline.js";
import { Views } from "./views.js";
import { Flag, WireError, parse, seqOf } from "./wire.js";

const FIRST_MS = 3000; // a stream may take this long to its first picture before that is an alarm
const LEVELS_MS = 1000;
const COVER = 2; // times the limit without a picture: the covers come by themselves
const JUDGED_EVERY_MS = 200;
const UNREADABLE_MS = 5000; // an unreadable or foreign frame is told of for this long

export class Monitor {
  constructor(document) {
    const find = (id) => document.getElementById(id);
    this.stage = find("stage");
    this.banner = find("banner");
    this.badge = new Badge(find("badge"), find("announce"));
    this.age = new Age(find("age"));
    this.meters = new Meters(find("meters"));
    this.timeline = new Timeline(find("timeline"));
    this.views = new Views(this.stage);
    this.decoder = new Decoder({
      done: (frame, bitmap) => this.#decoded(frame, bitmap),
      failed: (error) => this.#unreadable(error),
      settled: (frame) => frame.acknowledge(frame.seq),
    });
    this.order = new Order();
    this.pictureCover = new Deadman(find("deadman")); // put off by frames
    this.statusCover = new Deadman(find("stall")); // put off by the judging of the screen
    this.judgedMs = -Infinity;
    this.reset(null);
  }

  /** Another stream, or none: nothing of the last one may stay. number: of its frames. */
  reset(number) {
    this.clock = new Clock();
    this.limits = LIMITS;
    this.order.reset(number);
    this.decoder.clear();
    this.views.clear();
    this.age.reset();
    this.timeline.clear();
    this.generation = (this.generation ?? 0) + 1;
    this.drawn = null; // { frame, stampMs, atMs, delayMs }
    this.lost = ""; // why nothing comes from the service
    this.trouble = ""; // why nothing comes from the source, as the service knows it
    this.cardMs = null;
    this.streamLevels = null;
    this.analysed = { levels: null, atMs: -Infinity };
    this.restoredBy = "";
    this.unreadableMs = -Infinity;
    this.foreignMs = -Infinity;
    this.pushed = false;
    this.sinceMs = performance.now();
    this.pictureCover.defer(COVER * this.limits.stopMs);
  }

  /** A message of the viewer's socket; acknowledge(seq) is called once, when it is done with. */
  take(buffer, arrivalMs, want, acknowledge) {
    let frame;
    try {
      frame = parse(buffer);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#unreadable(error);
      const seq = seqOf(buffer);
      if (seq !== null) acknowledge(seq);
      return;
    }
    if (frame.flags & Flag.CARD) {
      this.cardMs = arrivalMs;
      this.lost = ""; // the service can be heard
      acknowledge(frame.seq);
      return;
    }
    this.clock.heard(arrivalMs, frame.outMs);
    this.decoder.push({ ...frame, want, acknowledge, generation: this.generation });
  }

  #decoded(frame, bitmap) {
    const verdict =
      frame.generation === this.generation ? this.order.judge(frame) : Verdict.FOREIGN;
    if (verdict !== Verdict.NEW) {
      bitmap.close();
      if (verdict === Verdict.FOREIGN && frame.generation === this.generation) {
        this.foreignMs = performance.now();
      }
      return;
    }
    const nowMs = performance.now();
    // A pusher's capture stamp is its own clock; all others share the service's.
    const stampMs = this.pushed ? frame.inMs : Math.min(frame.captureMs, frame.inMs);
    const delayMs = this.clock.age(stampMs, nowMs);
    this.views.show(frame, bitmap, frame.want);
    this.drawn = { frame, stampMs, atMs: nowMs, delayMs };
    this.cardMs = null;
    this.lost = "";
    const { w, h } = this.views.size;
    this.age.beat(delayMs, nowMs, frame, w, h);
    this.pictureCover.defer(COVER * this.limits.stopMs);
  }

  #unreadable(error) {
    this.fault = String(error); // for whoever looks into it
    this.unreadableMs = performance.now();
  }

  /** Judges the screen; returns { state, conditions } where conditions are alarm keys. */
  tick(nowMs) {
    if (nowMs - this.judgedMs > JUDGED_EVERY_MS) {
      this.judgedMs = nowMs;
      this.statusCover.defer(COVER * this.limits.stopMs);
    }
    const shown = this.#shown(nowMs);
    const { state, why } = this.badge.update(shown, this.limits, nowMs, this.restoredBy);
    this.views.tick(nowMs);
    const noSignal = state === State.NO_SIGNAL;
    const levels = noSignal || !this.drawn ? null : this.#levels(nowMs);
    this.meters.update(levels);
    this.timeline.add(nowMs, levels, state);
    this.timeline.tick(nowMs);
    if (shown !== null) this.age.tick(shown.ageMs, nowMs, noSignal || shown.quietMs > 500);
    this.#banner(noSignal, this.lost || this.trouble || why, shown);
    return { state, conditions: this.#conditions(state, nowMs) };
  }

  // Those of the last analysed frame, for as long as they can still be true.
  #levels(nowMs) {
    const levels = levelsOf(this.drawn.frame, this.streamLevels);
    if (levels !== null) this.analysed = { levels, atMs: this.drawn.atMs };
    return nowMs - this.analysed.atMs < LEVELS_MS ? this.analysed.levels : null;
  }

  #shown(nowMs) {
    if (this.drawn === null) return null;
    const { frame, stampMs, atMs, delayMs } = this.drawn;
    const seen = this.cardMs === null ? frame : { ...frame, flags: Flag.CARD };
    return {
      frame: seen,
      content: this.views.content,
      ageMs: this.clock.age(stampMs, nowMs),
      quietMs: nowMs - atMs,
      delayMs,
    };
  }

  #banner(noSignal, why, shown) {
    if (this.banner.hidden === noSignal) this.banner.hidden = !noSignal;
    if (!noSignal) return;
    const seconds = shown === null ? "" : `last picture ${Math.floor(shown.ageMs / 1000)} s ago`;
    const text = this.banner.querySelector(".why");
    const last = this.banner.querySelector(".last");
    if (text.textContent !== why) text.textContent = why;
    if (last.textContent !== seconds) last.textContent = seconds;
  }

  #conditions(state, nowMs) {
    const keys = new Set();
    const waiting = this.drawn === null && nowMs - this.sinceMs < FIRST_MS;
    if (state === State.NO_SIGNAL && !waiting) keys.add("NO_SIGNAL");
    if (state === State.STALE) keys.add("STALE");
    if (nowMs - this.unreadableMs < UNREADABLE_MS) keys.add("UNREADABLE");
    if (nowMs - this.foreignMs < UNREADABLE_MS) keys.add("WRONG_STREAM");
    if (state !== State.NO_SIGNAL && this.drawn.frame.flags & Flag.ENGINE_DOWN) {
      keys.add("ENGINE_DOWN");
    }
    return keys;
  }
}
