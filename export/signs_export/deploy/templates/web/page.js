// The page: shows the model's answer to a picture that is pasted, dropped, chosen or taken by the camera.

import { openHere } from "./opening.js";
import { readFrame, readPicture } from "./reading.js";
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
let verdict = null; // the proof's: [text, state]
let asked = 0; // counts pictures and cameras: answers to an earlier one are dropped

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

/** Show the model's answer. `took` is in milliseconds. */
function show({ ranked, sure, found }, took, rate = null) {
  const multiple = classifier.findsSeveral;
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
  if (file === null) return;
  stopCamera();
  const own = ++asked;
  const start = performance.now();
  let pixels;
  try {
    pixels = await readPicture(file, classifier.input);
  } catch (error) {
    console.warn(error);
    if (own === asked) {
      element("answer").hidden = true;
      tell(text.noPicture, "failed");
    }
    return;
  }
  const told = classifier.told(await classifier.probabilities(pixels));
  if (own !== asked) return;
  tell(...verdict);
  show(told, performance.now() - start);
  if (shownPicture !== null) URL.revokeObjectURL(shownPicture);
  shownPicture = URL.createObjectURL(file);
  element("picture").src = shownPicture;
  element("picture").hidden = false;
}

async function startCamera() {
  const own = ++asked;
  try {
    if (!navigator.mediaDevices) throw new Error(text.needsHttps);
    const opened = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    if (own !== asked) return stop(opened);
    stream = opened;
    const [track] = opened.getVideoTracks();
    track.addEventListener("ended", stopCamera);
    const video = element("video");
    video.srcObject = opened;
    await video.play();
    element("picture").hidden = true;
    video.hidden = false;
    element("camera").textContent = text.stop;
    tell(...verdict);
    await watch(video, own);
  } catch (error) {
    if (own !== asked) return;
    stopCamera();
    tell(text.noCamera(error.message), "failed");
  }
}

/** Label the camera's frames until another picture or camera is chosen. */
async function watch(video, own) {
  let before = performance.now();
  let rate = null;
  while (own === asked) {
    const pixels = readFrame(video, video.videoWidth, video.videoHeight, classifier.input);
    const told = classifier.told(await classifier.probabilities(pixels));
    if (own !== asked) return;
    const now = performance.now();
    rate = rate === null ? 1000 / (now - before) : 0.9 * rate + 100 / (now - before);
    show(told, now - before, rate);
    before = now;
    await new Promise((next) => requestAnimationFrame(next));
  }
}

function stop(opened) {
  for (const track of opened.getTracks()) track.stop();
}

function stopCamera() {
  asked++;
  if (stream === null) return;
  stop(stream);
  stream = null;
  element("video").hidden = true;
  element("camera").textContent = text.camera;
}

function listen() {
  element("file").addEventListener("change", (event) => answer(event.target.files[0] ?? null));
  element("choose").addEventListener("click", () => {
    element("file").value = ""; // so that choosing the same file again is a change
    element("file").click();
  });
  element("camera").addEventListener("click", () => (stream === null ? startCamera() : stopCamera()));
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
    classifier = await openHere(document.documentElement.dataset.variant);
    tell(text.proving);
    const proof = await classifier.verify();
    verdict = proof.passed ? [text.proved(proof), "passed"] : [text.failed(proof), "failed"];
    tell(...verdict);
    Object.assign(globalThis, { signs: { classifier, proof } }); // for tests and debugging
    listen();
    for (const id of ["choose", "camera"]) element(id).disabled = false;
  } catch (error) {
    console.error(error);
    tell(text.broken(error.message), "failed");
  }
}

main();
