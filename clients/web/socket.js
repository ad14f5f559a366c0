// A viewer's socket: says hello, hands out frames, and comes back by itself after a failure.

const SUBPROTOCOL = "surgiclear.v1";
const BACKOFF_FIRST_MS = 250;
const BACKOFF_MOST_MS = 4000;
const QUIET_MS = 5000; // an open socket that says nothing for this long is taken for dead
const PING_MS = 2000;
const CREDITS = 2; // frames that may be on their way to the page at once
export const Close = Object.freeze({ PROTOCOL: 4400, AUTH: 4401, UNKNOWN: 4404 });

/** The delay before attempt n (from 0): doubles up to a bound, spread by a quarter. */
export function backoffMs(attempt, random = Math.random()) {
  const base = Math.min(BACKOFF_MOST_MS, BACKOFF_FIRST_MS * 2 ** Math.min(attempt, 10));
  return base * (0.75 + 0.5 * random);
}

/**
 * One viewer of one stream with one `want`. Handlers: welcome(message), frame(buffer, arrivalMs),
 * pong(sentMs, serverMs, receivedMs), lost(why, retryMs) when it will come back by itself,
 * refused(code, why) when it will not.
 */
export class ViewerSocket {
  constructor({ url, want, token, handlers }) {
    this.url = url;
    this.want = want;
    this.token = token;
    this.handlers = handlers;
    this.socket = null;
    this.attempt = 0;
    this.timers = new Set();
    this.error = null;
    this.#connect();
  }

  /** The page is done with a frame (drawn, refused or overtaken): the next may be sent. */
  acknowledge(seq) {
    // JSON has no 64-bit numbers in JavaScript: the digits are put in as they are.
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.socket.send(`{"type":"ack","seq":${seq}}`);
    }
  }

  close() {
    this.#stopTimers();
    const socket = this.socket;
    this.socket = null; // from now on its events are nobody's
    socket?.close(1000);
  }

  #connect() {
    this.#stopTimers();
    this.error = null;
    const socket = new WebSocket(this.url, SUBPROTOCOL);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    const mine = (act) => (event) => {
      if (this.socket === socket) act(event);
    };
    socket.onopen = mine(() => this.#hello());
    socket.onmessage = mine((event) => this.#message(event.data));
    socket.onclose = mine((event) => this.#closed(event));
    this.#quiet();
  }

  #hello() {
    const hello = { type: "hello", want: this.want, credits: CREDITS };
    if (this.token) hello.token = this.token;
    this.#send(hello);
  }

  #message(data) {
    const arrivalMs = performance.now();
    this.#quiet();
    if (typeof data !== "string") {
      this.attempt = 0;
      this.handlers.frame(data, arrivalMs);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "welcome") {
      this.handlers.welcome(message);
      this.#every(PING_MS, () => this.#ping());
    } else if (message.type === "pong") {
      this.handlers.pong(message.t / 1000, message.server_ns / 1e6, arrivalMs);
    } else if (message.type === "error") {
      this.error = message;
    }
  }

  #ping() {
    this.#send({ type: "ping", t: Math.round(performance.now() * 1000) }); // microseconds
  }

  #send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  #closed(event) {
    this.socket = null;
    this.#stopTimers();
    const why = this.error?.message ?? (event.reason || `closed with ${event.code}`);
    if (Object.values(Close).includes(event.code)) {
      this.handlers.refused(event.code, why);
      return;
    }
    this.#retry(why);
  }

  #retry(why) {
    const retryMs = backoffMs(this.attempt);
    this.attempt += 1;
    this.handlers.lost(why, retryMs);
    this.#later(retryMs, () => this.#connect());
  }

  // A half-open connection gives no event for minutes: silence is taken for its end.
  #quiet() {
    clearTimeout(this.quietTimer);
    this.timers.delete(this.quietTimer);
    this.quietTimer = this.#later(QUIET_MS, () => {
      const socket = this.socket;
      this.socket = null;
      socket?.close();
      this.#retry("the server sends nothing");
    });
  }

  #later(ms, act) {
    const timer = setTimeout(act, ms);
    this.timers.add(timer);
    return timer;
  }

  #every(ms, act) {
    act();
    this.timers.add(setInterval(act, ms));
  }

  #stopTimers() {
    for (const timer of this.timers) clearTimeout(timer); // clears intervals as well
    this.timers.clear();
  }
}
