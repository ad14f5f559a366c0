// The bypass: one touch, or B, or space, shows the camera's picture from the next frame on.

const BOUNCE_MS = 700; // a foot pedal or a glove that presses twice means it once
const RETRY_MS = 500;

export class Bypass {
  /**
   * ask(on) makes the request and resolves to what then holds; failed(message) tells of one that
   * will not be tried again.
   */
  constructor(button, ask, failed) {
    this.button = button;
    this.text = button.querySelector(".text");
    this.hint = button.querySelector(".hint");
    this.ask = ask;
    this.failed = failed;
    this.pressedMs = -Infinity;
    this.run = 0; // counts requests; an older one's outcome is nobody's
    this.answeredMs = -Infinity;
    this.reset();
    this.#listen();
  }

  /** Another stream was chosen; its bypass is not known yet. */
  reset() {
    this.run += 1;
    this.on = false;
    this.pending = null;
    this.unconfirmed = false;
    this.#show();
  }

  /** What the service said of the stream, in an answer to a question asked at askedMs. */
  observe(on, askedMs) {
    if (this.pending !== null || askedMs < this.answeredMs || on === this.on) return;
    this.on = on;
    this.#show();
  }

  press() {
    const nowMs = performance.now();
    if (nowMs - this.pressedMs < BOUNCE_MS) return;
    this.pressedMs = nowMs;
    this.set(!(this.pending ?? this.on));
  }

  /** On is asked for until it is confirmed; off is asked for once. */
  async set(on) {
    const run = (this.run += 1);
    this.pending = on;
    this.#show();
    while (run === this.run) {
      try {
        const holds = await this.ask(on);
        if (run === this.run) this.#settle(holds);
        return;
      } catch (error) {
        if (run !== this.run) return;
        if (!on) {
          this.#settle(this.on);
          this.failed(error.message);
          return;
        }
        this.unconfirmed = true;
        this.#show();
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  #settle(on) {
    this.on = on;
    this.pending = null;
    this.unconfirmed = false;
    this.answeredMs = performance.now();
    this.#show();
  }

  #show() {
    const on = this.pending ?? this.on;
    this.button.setAttribute("aria-pressed", String(on));
    this.button.dataset.pending = String(this.pending !== null);
    this.text.textContent = on ? "BYPASS ON" : "BYPASS";
    if (this.pending !== null) this.hint.textContent = "asking the service…";
    else this.hint.textContent = on ? "touch to restore again" : "camera picture at once";
  }

  #listen() {
    let touched = false;
    this.button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      touched = true; // on the way down: a glove that slides off has pressed all the same
      this.press();
    });
    this.button.addEventListener("click", () => {
      if (!touched) this.press(); // by keyboard or assistive technology
      touched = false;
    });
    // Wherever the focus is, except where a person types; Enter still works the focused control.
    document.addEventListener(
      "keydown",
      (event) => {
        if (event.ctrlKey || event.altKey || event.metaKey) return;
        if (event.key !== " " && event.key.toLowerCase() !== "b") return;
        if (event.target.matches("input[type=text], input[type=password]")) return;
        event.preventDefault();
        event.stopPropagation();
        if (!event.repeat) this.press();
      },
      { capture: true },
    );
    document.addEventListener(
      "keyup",
      (event) => {
        // In some browsers a focused button acts on the release of the space bar all the same.
        if (event.key === " " && !event.target.matches("input[type=text], input[type=password]")) {
          event.preventDefault();
        }
      },
      { capture: true },
    );
  }
}
