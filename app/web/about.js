/** What every page says about the server: how much it holds, which index it serves, whom to credit. */
import { describeIndex } from "./api.js";
import { byId, element } from "./dom.js";

/** What GET /v1/index told last. */
let told = null;
/** The index of the latest answer to a question: another one than was told has come meanwhile. */
let newest = null;
let asking = false;
let wanted = false;

const isTold = () => told !== null && (newest === null || told.index_version === newest);

/**
 * Asks and shows it, once for each index that answers; `version`: that of an answer. Fails in silence, for whatever
 * else is asked tells what is wrong: call it again then.
 */
export async function tellAbout(version = newest) {
  newest = version;
  wanted = true;
  if (asking) return;
  asking = true;
  while (wanted && !isTold()) {
    wanted = false;
    try {
      told = await describeIndex();
      showAbout(told);
    } catch {
      // Once more only if it was called meanwhile.
    }
  }
  asking = false;
}

/** `index`: the answer of GET /v1/index. */
export function showAbout(index) {
  const { images, tags } = index.counts ?? {};
  if (images !== undefined) {
    byId("facts").replaceChildren(`${images.toLocaleString("en")} pictures`,
      element("span", { class: "wide" }, ` · ${tags.toLocaleString("en")} tags`));
  }
  byId("credits").replaceChildren(...linked(index.credits ?? ""));
  byId("version").textContent = [
    index.index_version && `index ${index.index_version}`, index.model?.preset && `model ${index.model.preset}`, index.encoder?.name, index.degraded,
  ].filter(Boolean).join(" · ");
}

/** A line at the top while the device has no network. */
export function listenForNetwork() {
  const line = byId("offline");
  const show = () => {
    line.textContent = navigator.onLine ? "" : "You are offline. What is shown stays; new questions wait for the network.";
    line.hidden = navigator.onLine;
  };
  window.addEventListener("online", show);
  window.addEventListener("offline", show);
  show();
}

/** Text with its https addresses as links. */
function linked(text) {
  return String(text).split(/(https:\/\/[^\s,;)]+)/).map((part, at) =>
    (at % 2 ? element("a", { href: part, rel: "noopener noreferrer" }, part.replace("https://", "")) : part));
}
