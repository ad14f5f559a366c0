// The order of the frames of one stream: what may be drawn after what.

export const Verdict = Object.freeze({
  NEW: "new",
  REPEAT: "repeat",
  OLDER: "older",
  FOREIGN: "foreign", // another stream's frame: never shown
});

/**
 * Accepts a frame only if it is newer than the last one accepted. The header carries no epoch; a
 * seq that falls back while the server took the frame in later is a new epoch (or a pusher that
 * began again), everything else that is not newer is refused.
 */
export class Order {
  constructor() {
    this.reset(null);
  }

  /** number: the u32 that the server gave this stream; null takes it from the first frame. */
  reset(number) {
    this.number = number;
    this.last = null;
    this.epochs = 0;
    this.refused = 0;
  }

  judge(frame) {
    this.number ??= frame.stream;
    const verdict = this.#compare(frame);
    if (verdict === Verdict.NEW) this.last = { seq: frame.seq, inMs: frame.inMs };
    else this.refused += 1;
    return verdict;
  }

  #compare(frame) {
    if (frame.stream !== this.number) return Verdict.FOREIGN;
    if (this.last === null) return Verdict.NEW;
    if (frame.seq === this.last.seq) return Verdict.REPEAT;
    if (frame.inMs < this.last.inMs) return Verdict.OLDER;
    if (frame.seq > this.last.seq) return Verdict.NEW;
    if (frame.inMs === this.last.inMs) return Verdict.OLDER;
    this.epochs += 1;
    return Verdict.NEW;
  }
}
