// Opens the bundle in the browser.

import * as ort from "./ort.wasm.bundle.min.mjs";
import { openBundle } from "./classifier.js";
import { readPicture } from "./reading.js";

ort.env.wasm.numThreads = 1; // more threads need headers that few static hosts send
ort.env.wasm.wasmPaths = { wasm: new URL("./ort-wasm-simd-threaded.wasm", import.meta.url).href };

/** Open a variant of the bundle next to this page. Throws an Error if a digest differs. */
export function openHere(name) {
  const read = (content, input) => readPicture(new Blob([content]), input);
  return openBundle(name, { fetched, read, ort, options: { executionProviders: ["wasm"] } });
}

/** Fetch a file of the bundle. */
async function fetched(name) {
  const answer = await fetch(new URL(`./bundle/${name}`, import.meta.url));
  if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
  return new Uint8Array(await answer.arrayBuffer());
}
