/**
 * The API key, where the server asks for one. It is kept for this tab alone (sessionStorage) and travels in the
 * Authorization header, never in an address: addresses end up in histories and logs.
 */
import { element, icon } from "./dom.js";

const NAME = "imsage.key";
/** What a header can carry: anything else is a slip of the clipboard. */
const SENDABLE = /^[\x21-\x7e]+$/;

/** The key as long as this page lives, for browsers that keep nothing: where the storage is shut, reading it throws. */
let held = null;

export function currentKey() {
  try {
    return sessionStorage.getItem(NAME);
  } catch {
    return held;
  }
}

/** `key`: null forgets it. */
function keep(key) {
  held = key;
  try {
    if (key === null) sessionStorage.removeItem(NAME);
    else sessionStorage.setItem(NAME, key);
  } catch {
    // This page has it.
  }
}

export const withKey = (headers = {}) => {
  const key = currentKey();
  return key === null ? headers : { ...headers, Authorization: `Bearer ${key}` };
};

export function forgetKey() {
  keep(null);
  showKeyButtons();
}

let asking = null;
const waiting = [];

/** Calls `listener()` whenever the user has given a key. */
export const whenKeyIsGiven = (listener) => waiting.push(listener);

/** Asks the user for a key; whoever asks meanwhile waits for the same dialog. Resolves to whether there is a new one. */
export function askForKey(detail = "") {
  asking ??= prompt(detail).finally(() => {
    asking = null;
  });
  return asking;
}

function prompt(detail) {
  const input = element("input", {
    type: "password", id: "api-key", required: true, autocomplete: "off", spellcheck: "false", "aria-describedby": "key-note",
  });
  const wrong = element("p", { class: "key-wrong", role: "alert" }, detail);
  const dialog = element("dialog", { class: "key-dialog", "aria-labelledby": "key-title" },
    element("form", { method: "dialog" },
      element("h2", { id: "key-title" }, icon("key"), "This server asks for a key"),
      wrong,
      element("label", { for: "api-key" }, "API key"),
      input,
      element("p", { class: "quiet", id: "key-note" }, "It stays in this tab and is forgotten when you close it."),
      element("p", { class: "problem-actions" },
        element("button", { type: "submit", class: "primary" }, "Use the key"),
        element("button", { type: "button", class: "tool", onclick: () => dialog.close() }, "Cancel"))));
  return new Promise((resolve) => {
    let given = false;
    dialog.querySelector("form").addEventListener("submit", (event) => {
      const key = input.value.trim();
      if (!SENDABLE.test(key)) {
        event.preventDefault();
        wrong.textContent = "A key has no spaces and only plain letters, digits and signs.";
        return;
      }
      keep(key);
      given = true;
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      showKeyButtons();
      resolve(given);
      if (given) for (const listener of waiting) listener();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** The buttons "Forget the key" are there while there is a key. */
export function showKeyButtons() {
  for (const button of document.querySelectorAll(".forget-key")) button.hidden = currentKey() === null;
}

export function listenForForgetting() {
  for (const button of document.querySelectorAll(".forget-key")) {
    button.addEventListener("click", () => {
      forgetKey();
      location.reload();
    });
  }
  showKeyButtons();
}
