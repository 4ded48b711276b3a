// Draws boxes on the photograph that was asked about, and asks before something is deleted.
// Every page works without it.

"use strict";

const MOST_ROWS = 200;

for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => {
    if (!confirm(form.dataset.confirm)) event.preventDefault();
  });
}

for (const form of document.querySelectorAll("form[data-again]")) {
  setTimeout(() => form.submit(), 1000);
}

const ask = document.getElementById("ask");
if (ask) {
  const input = ask.elements.image;
  ask.addEventListener("submit", (event) => {
    event.preventDefault();
    answer(ask, input.files[0]);
  });
  ask.addEventListener("dragover", (event) => {
    event.preventDefault();
    ask.classList.add("dropping");
  });
  ask.addEventListener("dragleave", () => ask.classList.remove("dropping"));
  ask.addEventListener("drop", (event) => {
    event.preventDefault();
    ask.classList.remove("dropping");
    if (!event.dataTransfer.files.length) return;
    input.files = event.dataTransfer.files;
    answer(ask, input.files[0]);
  });
}

const live = document.getElementById("live");
if (live) {
  const rows = document.getElementById("sightings");
  const events = new EventSource(live.dataset.events);
  events.onopen = () => { live.textContent = "Live."; };
  events.onerror = () => { live.textContent = "Not connected; trying again."; };
  events.onmessage = (event) => {
    const row = new DOMParser().parseFromString(event.data, "text/html").body.firstElementChild;
    const before = document.getElementById(row.id);
    // A row that somebody is filling in or has chosen stays as it is.
    if (before && (before.contains(document.activeElement) || chosen(before))) return;
    if (before) before.remove();
    rows.prepend(row);
    for (const old of [...rows.children].slice(MOST_ROWS)) if (!chosen(old)) old.remove();
  };
  events.addEventListener("problem", (event) => {
    events.close();
    live.textContent = `Ended: ${JSON.parse(event.data).detail}. Load the page again.`;
  });
}

function chosen(row) {
  return row.querySelector("input:checked") !== null;
}

/** Ask about a photograph and show the answer below, the photograph beside it. */
async function answer(form, file) {
  const button = form.querySelector("button");
  const place = document.getElementById("answer");
  button.disabled = true;
  place.textContent = "Asking…";
  let page;
  try {
    const response = await fetch(form.action, { method: "POST", body: new FormData(form) });
    page = new DOMParser().parseFromString(await response.text(), "text/html");
  } catch {
    place.textContent = "The gateway could not be reached.";
    return;
  } finally {
    button.disabled = false;
  }
  const found = page.getElementById("answer");
  if (found) {
    place.replaceChildren(...found.childNodes);
    show(file, place.querySelectorAll("[data-box]"));
  } else {
    place.replaceChildren(...page.getElementById("content").childNodes);
    document.getElementById("photograph").hidden = true;
  }
}

/** Show a photograph with the boxes of its faces; browsers turn it upright as the encoder does. */
function show(file, faces) {
  const place = document.getElementById("photograph");
  const image = new Image();
  image.alt = "The photograph, with a box around each face";
  image.onload = () => {
    URL.revokeObjectURL(image.src);
    place.replaceChildren(image, boxes(image, faces));
    place.hidden = false;
  };
  image.onerror = () => { place.hidden = true; }; // HEIC, in most browsers
  image.src = URL.createObjectURL(file);
}

function boxes(image, faces) {
  const svg = element("svg", { viewBox: `0 0 ${image.naturalWidth} ${image.naturalHeight}` });
  faces.forEach((face, index) => {
    const [x, y, width, height] = face.dataset.box.split(" ").map(Number);
    svg.append(element("rect", { x, y, width, height }));
    const text = element("text", { x, y: Math.max(y - 4, 16), "font-size": Math.max(16, width / 5) });
    text.textContent = String(index + 1);
    svg.append(text);
  });
  return svg;
}

function element(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
