// The service's REST calls that the page makes.

const TIMEOUT_MS = 10_000; // ending a stream takes up to 4 s on an idle machine
const PROMPT_MS = 2500; // what has to be asked again rather than waited for

/** An answer that is no success. status 0: no answer at all. */
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export class Api {
  constructor(base = new URL("v1/", document.baseURI)) {
    this.base = base;
    this.token = "";
  }

  streams = () => this.#json("GET", "streams");
  stream = (id) => this.#json("GET", path`streams/${id}`, undefined, PROMPT_MS);
  start = (spec) => this.#json("POST", "streams", spec);
  stop = (id) => this.#json("DELETE", path`streams/${id}`);
  bypass = (id, on) => this.#json("POST", path`streams/${id}/bypass`, { on }, PROMPT_MS);
  engine = (id, name) => this.#json("PUT", path`streams/${id}/engine`, { name });
  strength = (id, strength) => this.#json("PUT", path`streams/${id}/strength`, { strength });
  engines = () => this.#json("GET", "engines");

  /** A JPEG as a Blob. */
  async snapshot(id, view) {
    const response = await this.#call("GET", `${path`streams/${id}/snapshot`}?view=${view}`);
    return response.blob();
  }

  viewUrl(id) {
    const url = new URL(path`streams/${id}/view`, this.base);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return url;
  }

  async #json(method, where, body, timeoutMs) {
    const response = await this.#call(method, where, body, timeoutMs);
    return response.status === 204 ? null : response.json();
  }

  async #call(method, where, body, timeoutMs = TIMEOUT_MS) {
    const headers = {};
    if (body !== undefined) headers["content-type"] = "application/json";
    if (this.token) headers.authorization = `Bearer ${this.token}`;
    let response;
    try {
      response = await fetch(new URL(where, this.base), {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store",
        signal: AbortSignal.timeout(timeoutMs),
      });
    } catch (error) {
      throw new ApiError(0, "no_answer", "the service does not answer", { cause: error });
    }
    if (!response.ok) throw await errorOf(response);
    return response;
  }
}

function path(parts, ...values) {
  return String.raw({ raw: parts }, ...values.map(encodeURIComponent));
}

async function errorOf(response) {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text);
    return new ApiError(response.status, error.code, error.message);
  } catch {
    return new ApiError(response.status, "unknown", `the service answers ${response.status}`);
  }
}
