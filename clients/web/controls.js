// The controls beside the picture: view, strength, snapshot, and the panel that hides the rest.

import { VIEWS } from "./views.js";

const STRENGTH_EVERY_MS = 200;
const SNAPSHOT_OF = {
  restored: "restored",
  raw: "raw",
  wipe: "split",
  side: "split",
  blink: "split",
  difference: "difference",
};

export class Controls {
  /** actions: view(name), strength(share), snapshot(view), note(text). */
  constructor(root, actions) {
    this.root = root;
    this.actions = actions;
    this.radios = [...root.querySelectorAll("input[name=view]")];
    this.slider = root.querySelector("#strength");
    this.strengthText = root.querySelector("#strength-text");
    this.snapshot = root.querySelector("#snapshot");
    this.setup = root.querySelector("#setup");
    this.main = root.querySelector("#controls");
    this.panel = root.querySelector("#panel");
    this.#views();
    this.#strength();
    this.snapshot.addEventListener("click", () => this.#snapshot());
    this.setup.addEventListener("click", () => this.show(true));
    root.querySelector("#panel-close").addEventListener("click", () => this.show(false));
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  get view() {
    return this.radios.find((radio) => radio.checked).value;
  }

  /** Shows the panel in place of the controls; the picture and the bypass stay. */
  show(panel) {
    this.main.dataset.covered = String(panel); // it keeps its place, so that nothing moves
    this.panel.hidden = !panel;
    (panel ? this.panel.querySelector("h2") : this.setup).focus();
  }

  /** Without both pictures of a frame only raw and restored are left. */
  allowPairs(allowed) {
    for (const radio of this.radios) {
      radio.disabled = !allowed && radio.value !== "restored" && radio.value !== "raw";
    }
    if (this.radios.some((radio) => radio.checked && radio.disabled)) this.#choose("restored");
  }

  /** The stream's strength as the service states it, unless a finger is on the slider. */
  observe(strength) {
    if (this.sending || document.activeElement === this.slider) return;
    this.#showStrength(Math.round(strength * 100));
  }

  #views() {
    for (const radio of this.radios) {
      radio.addEventListener("change", () => this.actions.view(radio.value));
    }
  }

  #choose(view) {
    const radio = this.radios.find((each) => each.value === view);
    if (radio.disabled || radio.checked) return;
    radio.checked = true;
    this.actions.view(view);
  }

  #key(event) {
    if (event.target.matches("input[type=text], input[type=password]")) return;
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const view = Object.keys(VIEWS)[Number(event.key) - 1];
    if (view && event.key.length === 1) this.#choose(view);
    if (event.key === "Escape" && !this.panel.hidden) this.show(false);
  }

  #strength() {
    this.slider.addEventListener("input", () => {
      this.#showStrength(this.slider.valueAsNumber);
      this.sending ??= setTimeout(() => {
        this.sending = null;
        this.actions.strength(this.slider.valueAsNumber / 100);
      }, STRENGTH_EVERY_MS);
    });
  }

  #showStrength(percent) {
    this.slider.value = String(percent);
    this.slider.setAttribute("aria-valuetext", `${percent} percent`);
    this.slider.style.setProperty("--filled", `${percent}%`);
    this.strengthText.textContent = `${percent} %`;
  }

  async #snapshot() {
    this.snapshot.disabled = true;
    try {
      await this.actions.snapshot(SNAPSHOT_OF[this.view]);
    } finally {
      this.snapshot.disabled = false;
    }
  }
}

/** Hands a picture to the browser's downloads. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
