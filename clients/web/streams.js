// The streams of the service: list, start, watch and stop them.

const STOP_AGAIN_MS = 4000; // the second touch that stops has to come within
export const PHANTOM = "phantom:";

export class Streams {
  /** actions: watch(id), start(source), stop(id). */
  constructor(root, actions) {
    this.list = root.querySelector("#stream-list");
    this.template = document.getElementById("stream-item");
    this.source = root.querySelector("#source");
    this.actions = actions;
    root.querySelector("#start-phantom").addEventListener("click", () => actions.start(PHANTOM));
    root.querySelector("#start-source").addEventListener("submit", (event) => {
      event.preventDefault();
      const source = this.source.value.trim();
      if (source) actions.start(source);
    });
  }

  /** states: of all streams; watched: the id of the one on the screen. */
  update(states, watched) {
    const key = JSON.stringify([states.map((state) => [state.id, state.spec.source]), watched]);
    if (key === this.key) return; // an unchanged list keeps the focus where it is
    this.key = key;
    this.list.replaceChildren(...states.map((state) => this.#item(state, state.id === watched)));
    this.list.dataset.empty = String(states.length === 0);
  }

  #item(state, watched) {
    const item = this.template.content.firstElementChild.cloneNode(true);
    const watch = item.querySelector(".watch");
    const stop = item.querySelector(".stop");
    item.querySelector(".name").textContent = nameOf(state);
    item.querySelector(".number").textContent = `number ${state.number}`;
    watch.setAttribute("aria-pressed", String(watched));
    watch.addEventListener("click", () => this.actions.watch(state.id));
    stop.setAttribute("aria-label", `Stop ${nameOf(state)}`);
    stop.addEventListener("click", () => this.#stop(stop, state));
    return item;
  }

  // Stopping ends a picture that somebody may be looking at: it takes two touches.
  #stop(button, state) {
    if (button.dataset.armed === "true") {
      this.actions.stop(state.id);
      return;
    }
    button.dataset.armed = "true";
    button.textContent = "Stop?";
    setTimeout(() => {
      button.dataset.armed = "false";
      button.textContent = "Stop";
    }, STOP_AGAIN_MS);
  }
}

/** What people call a stream: where it comes from. Its number and id are for machines. */
export function nameOf(state) {
  return state.spec.source.replace(/^file:/, "");
}
