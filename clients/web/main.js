// The operator's page: joins the stream, the monitor and the controls.

import { Alarms, SERVER_ALARMS } from "./alarm.js";
import { Api, ApiError } from "./api.js";
import { limitsOf, State } from "./badge.js";
import { Bypass } from "./bypass.js";
import { Controls, save } from "./controls.js";
import { Engines } from "./engines.js";
import { Feed, Want } from "./feed.js";
import { Monitor } from "./monitor.js";
import { Sinks } from "./sinks.js";
import { Close } from "./socket.js";
import { Sound } from "./sound.js";
import { Streams, nameOf } from "./streams.js";
import { VIEWS } from "./views.js";

const POLL_MS = 1000;
const SMOKE = ["smoke.persistent", "smoke.cleared"];
const STORED = "surgiclear.stream";
const TOKEN = "surgiclear.token";
const find = (id) => document.getElementById(id);

const api = new Api();
const monitor = new Monitor(document);
const alarms = new Alarms({
  first: find("alarms"),
  others: find("more-alarms"),
  announcer: find("announce-alarm"),
  sound: new Sound(find("sound")),
});
const sinks = new Sinks(find("sink-row"), find("sink-list"));
let watched = null; // id of the stream on the screen
let state = null; // the service's last word on it
let pairs = true; // the service can send both pictures of a frame
let begun = false;
let unanswered = 0; // polls in a row

const note = (text) => {
  find("note").textContent = text;
};

/** Does what a control asks for; a failure is told, not thrown. */
const attempt = async (act, done = "") => {
  try {
    await act();
    if (done) note(done);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401 || error.status === 403) askToken(error.message);
    note(error.message);
  }
};

const bypass = new Bypass(
  find("bypass"),
  async (on) => {
    if (watched === null) return false; // no picture, nothing to bypass
    await api.bypass(watched, on);
    return on;
  },
  note,
);

const wantOf = (view) => {
  if (pairs) return VIEWS[view].want;
  return view === "raw" ? Want.RAW : Want.RESTORED;
};

const controls = new Controls(document, {
  view: (view) => {
    monitor.views.choose(view);
    feed.wish(wantOf(view));
  },
  strength: (share) => watched && attempt(() => api.strength(watched, share)),
  snapshot: (view) =>
    watched &&
    attempt(async () => {
      const seq = monitor.views.canvas.dataset.seq ?? "none";
      save(await api.snapshot(watched, view), `surgiclear-${view}-${seq}.jpg`);
    }, "Snapshot saved"),
});

const engines = new Engines(find("engine-list"), {
  choose: (name) =>
    watched && attempt(() => api.engine(watched, name), `Warming up ${name}: the old one goes on`),
  note,
});

const feed = new Feed({
  welcome: (message) => {
    monitor.limits = limitsOf(message);
  },
  pong: (sentMs, serverMs, receivedMs) => monitor.clock.answered(sentMs, serverMs, receivedMs),
  frame: (buffer, arrivalMs, want, acknowledge) =>
    monitor.take(buffer, arrivalMs, want, acknowledge),
  lost: () => {
    monitor.lost = "no connection to the service, trying again";
  },
  refused: (code, why) => {
    monitor.lost = why;
    if (code === Close.AUTH) askToken(why);
    else controls.show(true);
  },
  noBoth: () => {
    pairs = false;
    controls.allowPairs(false);
    feed.wish(wantOf(controls.view));
    note("This service sends one picture of a frame: comparing is off");
  },
});

const streams = new Streams(find("panel"), {
  watch: (id) => attempt(() => watch(id)),
  start: (source) =>
    attempt(async () => {
      const started = await api.start({ source });
      await watch(started.id);
      controls.show(false);
    }),
  stop: (id) =>
    attempt(async () => {
      await api.stop(id);
      if (id === watched) end("the stream was stopped");
      await list();
    }, "Stream stopped"),
});

async function watch(id) {
  const asked = await api.stream(id);
  leave("");
  watched = id;
  sessionStorage.setItem(STORED, id);
  monitor.reset(asked.number);
  monitor.pushed = asked.spec.source === "push";
  engines.reset();
  observe(asked, performance.now());
  seed(asked);
  feed.start(api.viewUrl(id), api.token, wantOf(controls.view));
  await list();
}

function leave(why) {
  feed.stop();
  watched = null;
  state = null;
  sessionStorage.removeItem(STORED);
  bypass.reset();
  sinks.update([]);
  monitor.reset(null);
  monitor.lost = why;
  find("stream-name").textContent = "";
}

function end(why) {
  leave(why);
  controls.show(true);
}

// The levels from before this page watched. The stream's clock is placed by the newest stamp.
function seed(asked) {
  if (!asked.timeline.length || asked.now_ns === undefined) return;
  const nowMs = performance.now();
  monitor.timeline.seed(
    asked.timeline.map((point) => ({
      atMs: nowMs - (asked.now_ns - point.at_ns) / 1e6,
      levels: point.levels,
    })),
  );
}

function observe(answer, askedMs) {
  state = answer;
  bypass.observe(answer.bypass, askedMs);
  controls.observe(answer.strength);
  engines.observe(answer);
  sinks.update(answer.sinks);
  monitor.trouble = answer.trouble ?? "";
  monitor.streamLevels = answer.levels;
  monitor.restoredBy = [answer.engine, answer.engine_version].filter(Boolean).join(" ");
  find("stream-name").textContent = nameOf(answer);
}

async function list() {
  const all = await api.streams();
  streams.update(all, watched);
  return all;
}

async function poll() {
  const askedMs = performance.now();
  const id = watched;
  try {
    if (!begun) await begin();
    if (id !== null) {
      const answer = await api.stream(id);
      if (id === watched) observe(answer, askedMs);
    }
    if (!find("panel").hidden) await list();
    unanswered = 0;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401 || error.status === 403) askToken(error.message);
    else if (error.status === 404 && id === watched) end("the stream has ended");
    else unanswered += 1;
    if (!begun) monitor.lost = error.message;
  } finally {
    setTimeout(poll, POLL_MS);
  }
}

function askToken(why) {
  if (!find("token-form").hidden) return;
  find("token-form").hidden = false;
  find("token-why").textContent = why;
  controls.show(true);
  find("token").focus();
}

find("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.token = find("token").value;
  sessionStorage.setItem(TOKEN, api.token);
  find("token-form").hidden = true;
  attempt(begin);
});

find("release").addEventListener("click", () => bypass.set(false));

function conditions(found) {
  const keys = new Set(found);
  if (watched === null) return new Set(); // nobody expects a picture
  for (const alarm of state?.alarms ?? []) {
    // Only this page knows what is on its screen; the service's word on that adds nothing.
    if (alarm !== "SIGNAL_LOST" && alarm !== "STALE") keys.add(SERVER_ALARMS[alarm] ?? "INVARIANT");
  }
  if (state?.clean_lens) keys.add("LENS");
  if (sinks.failing) keys.add("SINK");
  if (smokeStays()) keys.add("SMOKE");
  if (bypass.unconfirmed) keys.add("BYPASS_UNCONFIRMED");
  if (unanswered >= 2) keys.add("SERVER");
  return keys;
}

function smokeStays() {
  return state?.events.findLast((each) => SMOKE.includes(each.name))?.name === SMOKE[0];
}

function refresh() {
  const judged = monitor.tick(performance.now());
  alarms.update(conditions(judged.conditions));
  find("release").hidden = !state?.latched || judged.state === State.NO_SIGNAL;
  requestAnimationFrame(refresh);
}

// With one stream there is nothing to choose; among several a person does, because the wrong
// picture is worse than none.
async function begin() {
  api.token = sessionStorage.getItem(TOKEN) ?? "";
  const all = await list();
  engines.offer(await api.engines());
  const stored = all.find((each) => each.id === sessionStorage.getItem(STORED));
  begun = true;
  const chosen = stored ?? (all.length === 1 ? all[0] : null);
  if (chosen) await watch(chosen.id);
  else {
    monitor.lost = all.length ? "choose a stream" : "no stream runs";
    controls.show(true);
  }
}

async function stayAwake() {
  if (!navigator.wakeLock || document.visibilityState !== "visible") return;
  try {
    await navigator.wakeLock.request("screen");
  } catch (error) {
    note(`This screen may go to sleep by itself (${error.name})`);
  }
}

monitor.views.choose(controls.view);
document.addEventListener("visibilitychange", stayAwake);
stayAwake();
requestAnimationFrame(refresh);
poll();
