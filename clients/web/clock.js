// The server's monotonic clock as this page sees it, for the age of a frame.
//
// Neither side trusts wall time. The offset (page ms - server ms) is bounded from two sides:
// a frame cannot arrive before it was sent, so arrival - sent is never under the offset; and a
// ping that the server answers with its clock pins it to half a round trip. The smallest wins,
// because it gives the larger, safer age. Samples are forgotten after a while, so that two clocks
// that drift, or a side that slept, are followed.

const KEEP_MS = 15_000;

class LowestOfLate {
  // The smallest value of the last KEEP_MS to 2 x KEEP_MS.
  constructor() {
    this.before = Infinity;
    this.now = Infinity;
    this.since = -Infinity;
  }

  add(value, atMs) {
    if (atMs - this.since > KEEP_MS) {
      this.before = atMs - this.since > 2 * KEEP_MS ? Infinity : this.now;
      this.now = Infinity;
      this.since = atMs;
    }
    this.now = Math.min(this.now, value);
  }

  get value() {
    return Math.min(this.before, this.now);
  }
}

export class Clock {
  constructor() {
    this.frames = new LowestOfLate();
    this.pings = new LowestOfLate();
  }

  /** A frame that the server sent at outMs came in at arrivalMs. */
  heard(arrivalMs, outMs) {
    this.frames.add(arrivalMs - outMs, arrivalMs);
  }

  /** The server's clock showed serverMs at some moment between sentMs and receivedMs. */
  answered(sentMs, serverMs, receivedMs) {
    this.pings.add((sentMs + receivedMs) / 2 - serverMs, receivedMs);
  }

  get known() {
    return Number.isFinite(this.offset);
  }

  get offset() {
    return Math.min(this.frames.value, this.pings.value);
  }

  /** The moment of a server stamp on the page's clock. */
  here(serverMs) {
    return serverMs + this.offset;
  }

  /** Age in ms at nowMs of something that the server stamped; never negative. */
  age(stampMs, nowMs) {
    return Math.max(0, nowMs - this.here(stampMs));
  }
}
