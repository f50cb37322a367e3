/** The HTTP calls about jobs, and the stream of one that runs. */
import { call, problemOf, send } from "./api.js";

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 15_000;
const ENDED = ["succeeded", "failed", "canceled"];

const jobPath = (id) => `/v1/jobs/${encodeURIComponent(id)}`;

export const hasEnded = (job) => ENDED.includes(job.state);

export function listJobs(cursor = null, limit = 20) {
  const query = new URLSearchParams({ limit: String(limit) });
  if (cursor !== null) query.set("cursor", cursor);
  return call(`/v1/jobs?${query}`);
}

/** `key`: the same for every try of one click, so that a try whose answer was lost makes no second job. */
export function startJob(order, key) {
  return call("/v1/jobs", {
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": key },
    body: JSON.stringify(order),
  });
}

export const resumeJob = (id, key) => call(`${jobPath(id)}/resume`, { method: "POST", headers: { "Idempotency-Key": key } });
export const cancelJob = (id) => call(`${jobPath(id)}/cancel`, { method: "POST" });

export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Calls `changed(job)` at every change until the job has ended; goes on where it was when the connection breaks.
 * By fetch, since an EventSource sends no key. Rejects with a Problem that waiting will not mend.
 */
export async function followJob(id, changed) {
  let last = null;
  let pause = FIRST_PAUSE_MS;
  for (;;) {
    try {
      const response = await send(`${jobPath(id)}/events`, { headers: last === null ? {} : { "Last-Event-ID": last } });
      if (response.status === 204) return;
      if (!response.ok) throw await problemOf(response);
      for await (const { id: number, data } of eventsOf(response.body)) {
        last = number ?? last;
        pause = FIRST_PAUSE_MS;
        const job = JSON.parse(data);
        changed(job);
        if (hasEnded(job)) return;
      }
    } catch (error) {
      // A stream that breaks off is a TypeError of the reader.
      if (!(error instanceof TypeError) && !error.passes) throw error;
    }
    await new Promise((rested) => setTimeout(rested, pause));
    pause = Math.min(LONGEST_PAUSE_MS, pause * 2);
  }
}

/** The events of a text/event-stream: {id, data}. Comments and other fields are passed over. */
export async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let id = null;
  let data = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const [field, ...after] = line.replace(/\r$/, "").split(":");
      const content = after.join(":").replace(/^ /, "");
      if (field === "id") id = content;
      else if (field === "data") data.push(content);
      else if (line.trim() === "" && data.length) {
        yield { id, data: data.join("\n") };
        data = [];
      }
    }
  }
}
