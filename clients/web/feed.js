// The frames of the chosen stream: one socket, and a second while the page changes what it wants.

import { Close, ViewerSocket } from "./socket.js";

export const Want = Object.freeze({ RESTORED: "restored", RAW: "raw", BOTH: "both" });

/**
 * Keeps the picture running while the wish changes: the new socket has to give a frame before the
 * old one is let go. Handlers: frame(buffer, arrivalMs, want, acknowledge), welcome(message),
 * pong(sentMs, serverMs, receivedMs), lost(why, retryMs), refused(code, why), noBoth(why) when the
 * service cannot send both pictures of a frame.
 */
export class Feed {
  constructor(handlers) {
    this.handlers = handlers;
    this.stop();
  }

  start(url, token, want) {
    this.stop();
    this.url = url;
    this.token = token;
    this.current = this.#open(want);
  }

  stop() {
    this.current?.close();
    this.next?.close();
    this.current = null;
    this.next = null;
  }

  wish(want) {
    if (!this.current) return;
    if (this.next?.want === want) return;
    this.next?.close();
    this.next = this.current.want === want ? null : this.#open(want);
  }

  #open(want) {
    const socket = new ViewerSocket({
      url: this.url,
      want,
      token: this.token,
      handlers: {
        welcome: (message) => this.handlers.welcome(message),
        pong: (...times) => this.handlers.pong(...times),
        frame: (buffer, arrivalMs) => {
          if (socket === this.next) this.#promote();
          this.handlers.frame(buffer, arrivalMs, want, (seq) => socket.acknowledge(seq));
        },
        lost: (why, retryMs) => {
          if (socket === this.current) this.handlers.lost(why, retryMs);
        },
        refused: (code, why) => this.#refused(socket, code, why),
      },
    });
    return socket;
  }

  #promote() {
    this.current.close();
    this.current = this.next;
    this.next = null;
  }

  #refused(socket, code, why) {
    if (socket.want === Want.BOTH && code === Close.PROTOCOL) {
      if (socket === this.next) this.next = null;
      else this.current = this.#open(Want.RESTORED);
      this.handlers.noBoth(why);
    } else if (socket === this.next) {
      this.next = null;
    } else {
      this.handlers.refused(code, why);
    }
  }
}
