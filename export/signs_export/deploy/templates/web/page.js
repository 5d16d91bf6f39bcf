// The page: a picture, pasted, dropped, chosen or from the camera, and what the model says of it.

import { openBundle } from "./classifier.js";
import { readFrame } from "./reading.js";
import { chosenLanguage, TEXTS } from "./texts.js";

const MOST_SHOWN = 10; // labels
const language = chosenLanguage();
const text = TEXTS[language];
const percent = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 });
const number = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
const element = (id) => document.getElementById(id);

let classifier = null;
let stream = null;
let shownPicture = null;

function fillIn() {
  document.documentElement.lang = language;
  element("picture").alt = text.picture;
  for (const each of document.querySelectorAll("[data-text]")) each.textContent = text[each.dataset.text];
  for (const each of document.querySelectorAll("[data-label]")) each.setAttribute("aria-label", text[each.dataset.label]);
  for (const each of document.querySelectorAll("[data-language]")) {
    if (each.dataset.language === language) each.setAttribute("aria-current", "true");
  }
}

function tell(message, state = "") {
  element("state").textContent = message;
  element("state").dataset.state = state;
}

/** Show what the model says; `took` are milliseconds. */
function show({ ranked, sure, found }, took, rate = null) {
  const multiple = (classifier.manifest.thresholds ?? []).length > 0;
  let label = multiple ? found.join(", ") : ranked[0].label;
  if (!sure) label = multiple ? text.none : text.unsure;
  element("label").textContent = label;
  element("detail").textContent = [
    multiple ? "" : percent.format(ranked[0].probability),
    rate === null ? text.took(Math.round(took)) : text.rate(number.format(rate)),
  ].filter(Boolean).join(" · ");
  const rows = ranked.slice(0, MOST_SHOWN).map(({ label: name, probability }) => {
    const row = document.createElement("li");
    const bar = document.createElement("span");
    bar.className = "bar";
    bar.style.setProperty("--share", String(probability));
    const words = document.createElement("span");
    words.textContent = name;
    const share = document.createElement("span");
    share.textContent = percent.format(probability);
    row.append(bar, words, share);
    return row;
  });
  element("answers").replaceChildren(...rows);
  element("answer").hidden = false;
}

async function answer(file) {
  stopCamera();
  if (classifier === null || file === null) return;
  try {
    const start = performance.now();
    const told = await classifier.predict(file);
    show(told, performance.now() - start);
  } catch (error) {
    console.warn(error);
    element("answer").hidden = true;
    tell(text.noPicture, "failed");
    return;
  }
  if (shownPicture !== null) URL.revokeObjectURL(shownPicture);
  shownPicture = URL.createObjectURL(file);
  element("picture").src = shownPicture;
  element("picture").hidden = false;
}

async function startCamera() {
  if (stream !== null) return stopCamera();
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    return tell(text.noCamera(error.message), "failed");
  }
  const video = element("video");
  video.srcObject = stream;
  await video.play();
  element("picture").hidden = true;
  video.hidden = false;
  element("camera").textContent = text.stop;
  let before = performance.now();
  let rate = null;
  while (stream !== null) {
    const told = classifier.told(
      await classifier.probabilities(readFrame(video, video.videoWidth, video.videoHeight, classifier.input)),
    );
    const now = performance.now();
    rate = rate === null ? 1000 / (now - before) : 0.9 * rate + 100 / (now - before);
    show(told, now - before, rate);
    before = now;
    await new Promise((next) => requestAnimationFrame(next));
  }
}

function stopCamera() {
  if (stream === null) return;
  for (const track of stream.getTracks()) track.stop();
  stream = null;
  element("video").hidden = true;
  element("camera").textContent = text.camera;
}

function listen() {
  element("file").addEventListener("change", (event) => answer(event.target.files[0] ?? null));
  element("choose").addEventListener("click", () => element("file").click());
  element("camera").addEventListener("click", startCamera);
  document.addEventListener("paste", (event) => answer(event.clipboardData?.files[0] ?? null));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    element("drop").dataset.over = "true";
  });
  document.addEventListener("dragleave", () => delete element("drop").dataset.over);
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    delete element("drop").dataset.over;
    answer(event.dataTransfer?.files[0] ?? null);
  });
}

async function main() {
  fillIn();
  tell(text.loading);
  if ("serviceWorker" in navigator) navigator.serviceWorker.register("./worker.js").catch(console.warn);
  try {
    classifier = await openBundle(document.documentElement.dataset.variant);
    tell(text.proving);
    const proof = await classifier.verify();
    tell(proof.passed ? text.proved(proof) : text.failed(proof), proof.passed ? "passed" : "failed");
    Object.assign(globalThis, { signs: { classifier, proof } }); // for tests, and the curious
    listen();
    for (const id of ["choose", "camera"]) element(id).disabled = false;
  } catch (error) {
    console.error(error);
    tell(text.broken(error.message), "failed");
  }
}

main();
