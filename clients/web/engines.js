// The choice of the engine, and what became of it.

const OUTCOMES = {
  "engine.changed": (data) => `Engine is now ${data.engine ?? data.name ?? "the new one"}`,
  "engine.rolled_back": () => "The new engine failed: the old one goes on",
  "engine.refused": () => "The new engine was refused: the old one goes on",
};

export class Engines {
  /** actions: choose(name), note(text). */
  constructor(root, actions) {
    this.root = root;
    this.actions = actions;
    this.offered = "";
    this.seenNs = null;
  }

  /** offers: [{ name, state }]; one that did not verify is shown, and cannot be chosen. */
  offer(offers) {
    const key = JSON.stringify(offers.map(({ name, state }) => [name, state]));
    if (key === this.offered) return;
    this.offered = key;
    this.root.replaceChildren(...offers.map((offer) => this.#option(offer)));
  }

  reset() {
    this.seenNs = null;
  }

  /** The stream's engine and its events, as the service states them. */
  observe(state) {
    for (const radio of this.root.querySelectorAll("input")) {
      if (radio.value === state.engine) radio.checked = true;
    }
    const newest = state.events.at(-1)?.at_ns ?? 0;
    if (this.seenNs !== null) {
      for (const event of state.events) {
        const outcome = event.at_ns > this.seenNs && OUTCOMES[event.name];
        if (outcome) this.actions.note(outcome(event.data));
      }
    }
    this.seenNs = Math.max(newest, this.seenNs ?? 0);
  }

  #option({ name, state }) {
    const label = document.createElement("label");
    label.className = "choice";
    const radio = document.createElement("input");
    radio.type = "radio";
    radio.name = "engine";
    radio.value = name;
    radio.disabled = state === "refused";
    radio.addEventListener("change", () => this.actions.choose(name));
    const text = document.createElement("span");
    text.textContent = radio.disabled ? `${name} (refused)` : name;
    label.append(radio, text);
    return label;
  }
}
