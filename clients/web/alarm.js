// Alarms: what a person has to know now, by shape, words, colour and, if wished, sound.

export const Priority = Object.freeze({ HIGH: "high", MEDIUM: "medium", LOW: "low" });
const ORDER = [Priority.HIGH, Priority.MEDIUM, Priority.LOW];

// key: [priority, what is the matter, what to do]
export const ALARMS = Object.freeze({
  NO_SIGNAL: [Priority.HIGH, "NO SIGNAL", "Look at the camera's own monitor"],
  BYPASS_UNCONFIRMED: [Priority.HIGH, "BYPASS NOT CONFIRMED", "Trying again"],
  WRONG_STREAM: [Priority.HIGH, "ANOTHER STREAM'S PICTURE", "Refused, never shown"],
  INVARIANT: [Priority.HIGH, "SAFETY CHECK FAILED", "Use bypass, call service"],
  STREAM_DOWN: [Priority.HIGH, "STREAM RESTARTING", "Look at the camera's own monitor"],
  STALE: [Priority.MEDIUM, "OLD PICTURE", "Look at the camera's own monitor"],
  LATCHED: [Priority.MEDIUM, "RESTORING HAS STOPPED", "Camera picture until you try again"],
  ENGINE_DOWN: [Priority.MEDIUM, "ENGINE DOWN", "Camera picture is shown"],
  UNREADABLE: [Priority.MEDIUM, "UNREADABLE PICTURES", "Some frames are not shown"],
  LENS: [Priority.MEDIUM, "CLEAN THE LENS", "Fog or a splash stays on it"],
  SINK: [Priority.MEDIUM, "NOT PUBLISHED", "An RTSP sink is down: trying again"],
  SERVER: [Priority.LOW, "CONTROLS DO NOT ANSWER", "Trying again"],
  SMOKE: [Priority.LOW, "HEAVY SMOKE STAYS", "Start the evacuator"],
});

// The service's own names for the same conditions.
export const SERVER_ALARMS = Object.freeze({
  SIGNAL_LOST: "NO_SIGNAL",
  STALE: "STALE",
  ENGINE_DOWN: "ENGINE_DOWN",
  LATCHED: "LATCHED",
  INVARIANT: "INVARIANT",
  STREAM_DOWN: "STREAM_DOWN",
});

export class Alarms {
  /** first, others: lists for the most urgent and the rest; announcer: an assertive live region. */
  constructor({ first, others, announcer, sound }) {
    this.first = first;
    this.others = others;
    this.announcer = announcer;
    this.sound = sound;
    this.active = [];
    this.worst = null;
  }

  /** keys: the conditions that hold now. */
  update(keys) {
    const ranked = Object.keys(ALARMS).filter((key) => keys.has(key));
    ranked.sort((a, b) => ORDER.indexOf(ALARMS[a][0]) - ORDER.indexOf(ALARMS[b][0]));
    if (ranked.join() === this.active.join()) return;
    const fresh = ranked.filter((key) => !this.active.includes(key));
    this.active = ranked;
    this.worst = ranked.length ? ALARMS[ranked[0]][0] : null;
    this.#show();
    if (fresh.length) {
      this.announcer.textContent = fresh.map((key) => ALARMS[key].slice(1).join(". ")).join(". ");
    }
    document.documentElement.dataset.alarm = this.worst ?? "none";
    this.sound.priority = this.worst;
  }

  #show() {
    const template = document.getElementById("alarm-item");
    const items = this.active.map((key) => {
      const [priority, what, todo] = ALARMS[key];
      const item = template.content.firstElementChild.cloneNode(true);
      item.dataset.key = key;
      item.dataset.priority = priority;
      item.querySelector("use").setAttribute("href", `#shape-alarm-${priority}`);
      item.querySelector(".what").textContent = what;
      item.querySelector(".todo").textContent = todo;
      return item;
    });
    this.first.replaceChildren(...items.slice(0, 1));
    this.others.replaceChildren(...items.slice(1));
  }
}
