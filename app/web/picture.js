/**
 * A picture from the user's own disk, made ready to be sent once per move of the dial: a large one is first drawn
 * smaller here. The encoders look at some 224 to 384 pixels, so nothing that they see is lost.
 */
import { Problem } from "./api.js";

const SEND_AS_IS = 256 * 1024;
const SIDE = 512;
const QUALITY = 0.92;

let made = 0;

/**
 * `file`: File or Blob. A file that this browser cannot draw goes as it is: the server may know it, or say why not.
 * Throws a Problem for one that is empty or cannot be read.
 */
export async function prepare(file) {
  if (file.size === 0) throw new Problem({ title: "Not a picture", detail: `${file.name || "The file"} is empty.` });
  const bytes = file.size <= SEND_AS_IS ? await held(file) : await smaller(file);
  made += 1;
  return {
    key: `${made}-${performance.now()}`,
    name: file.name || "pasted picture",
    preview: URL.createObjectURL(file.size <= SEND_AS_IS ? bytes : file),
    bytes,
  };
}

/** What the file holds now: on the disk it may change or go before it is sent for the last time. */
async function held(file) {
  return new Blob([await read(file)], { type: file.type });
}

async function read(part) {
  try {
    return await part.arrayBuffer();
  } catch {
    throw new Problem({ title: "The file cannot be read", detail: "It may be a folder, or have been changed or removed." });
  }
}

async function smaller(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    await read(file.slice(0, 1)); // one that cannot be read at all would look like a server that is away
    return file;
  }
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // as the server does: transparency shows over white
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const drawn = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
  return drawn ?? file;
}

/** Calls `take(file)` for a picture that is chosen, dropped anywhere on the page, or pasted. */
export function listenForPictures({ button, input, veil, take }) {
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files.length) take(input.files[0]);
    input.value = ""; // so that the same file can be chosen again
  });

  const carriesFile = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0; // dragenter and dragleave also come from every element inside
  const show = (visible) => veil.classList.toggle("shown", visible);
  window.addEventListener("dragenter", (event) => {
    if (!carriesFile(event)) return;
    depth += 1;
    show(true);
  });
  window.addEventListener("dragleave", (event) => {
    if (!carriesFile(event)) return;
    depth = Math.max(0, depth - 1);
    if (depth === 0) show(false);
  });
  window.addEventListener("dragover", (event) => {
    if (carriesFile(event)) event.preventDefault();
  });
  window.addEventListener("drop", (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    depth = 0;
    show(false);
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });

  window.addEventListener("paste", (event) => {
    if (document.querySelector("dialog[open]")) return;
    const files = [...(event.clipboardData?.files ?? [])];
    // Of copied text many programs carry a picture as well: where one can type, the text is meant.
    const typing = event.target.closest?.("input[type=text], textarea, [contenteditable]");
    if (typing && !justNames(event.clipboardData?.getData("text/plain") ?? "", files)) return;
    const pictures = files.filter((file) => file.type.startsWith("image/"));
    if (!pictures.length) return;
    event.preventDefault();
    take(pictures[0]);
  });
}

/** Whether the text is nothing but the names of the files, as it is where they were copied in the Finder of macOS. */
function justNames(text, files) {
  const names = files.map((file) => file.name.normalize());
  return text.split(/[\r\n]+/).every((line) => line === "" || names.includes(line.normalize()));
}
