// The stream's sinks: where its picture is published to, and whether it arrives there.

/** What a sink does now, in a word. It tries again for as long as the stream runs. */
export function doing(sink) {
  if (sink.state === "up") return "sending";
  return sink.connections > 0 ? "reconnecting" : "connecting";
}

/** Whether somebody should know: a first connection takes a moment, and is no failure yet. */
export function failing(sink) {
  return sink.state === "down" || (sink.state !== "up" && sink.connections > 0);
}

export class Sinks {
  /** row: one line for all, beside the levels; list: one item for each, with the reason. */
  constructor(row, list) {
    this.row = row;
    this.text = row.querySelector("dd");
    this.list = list;
    this.title = list.previousElementSibling;
    this.template = document.getElementById("sink-item");
    this.failing = false;
    this.update([]);
  }

  /** sinks: as the service states them. */
  update(sinks) {
    this.failing = sinks.some(failing);
    this.row.hidden = this.list.hidden = this.title.hidden = sinks.length === 0;
    this.row.dataset.failing = String(this.failing);
    this.text.textContent = summary(sinks);
    this.list.replaceChildren(...sinks.map((sink) => this.#item(sink)));
  }

  #item(sink) {
    const item = this.template.content.firstElementChild.cloneNode(true);
    const lost = Object.values(sink.dropped).reduce((sum, count) => sum + count, 0);
    item.dataset.failing = String(failing(sink));
    item.querySelector(".what").textContent = `RTSP sink: ${doing(sink)}`;
    item.querySelector(".why").textContent = sink.why ?? "";
    item.querySelector(".where").textContent = sink.url;
    item.querySelector(".counts").textContent = `${sink.sent} sent, ${lost} not sent`;
    return item;
  }
}

function summary(sinks) {
  if (sinks.length === 1) return `sink: ${doing(sinks[0])}`;
  const bad = sinks.filter((sink) => sink.state !== "up");
  if (bad.length === 0) return `${sinks.length} sinks: sending`;
  return `${bad.length} of ${sinks.length} ${doing(bad[0])}`;
}
