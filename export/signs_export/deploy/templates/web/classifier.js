// A bundle in the browser: its manifest, its model in onnxruntime-web, and its proof.

import * as ort from "./ort.wasm.bundle.min.mjs";
import { readPicture } from "./reading.js";

ort.env.wasm.numThreads = 1; // several need headers that few static hosts send
ort.env.wasm.wasmPaths = { wasm: new URL("./ort-wasm-simd-threaded.wasm", import.meta.url).href };

const SCHEMAS = [4, 5, 6];
const PIXEL_MOST = 3; // of 255: as `signs verify` allows for other decoders
const PIXEL_MEAN = 1;

/** Fetch a file of the site, its bytes counted by `onBytes`. */
async function fetched(name, onBytes) {
  const answer = await fetch(new URL(`./bundle/${name}`, import.meta.url));
  if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
  const content = new Uint8Array(await answer.arrayBuffer());
  onBytes(content.length);
  return content;
}

/** Open a variant of the bundle beside this page. `onBytes` hears what was read. Throws where a digest differs. */
export async function openBundle(name, onBytes = () => {}) {
  const manifest = JSON.parse(new TextDecoder().decode(await fetched("manifest.json", onBytes)));
  if (!SCHEMAS.includes(manifest.schema)) throw new Error(`The bundle is of schema ${manifest.schema}.`);
  const variant = manifest.variants.find((each) => each.name === name);
  const [model, golden] = await Promise.all(
    [variant.file, manifest.golden.file].map(async (record) => {
      const content = await fetched(record.path, onBytes);
      const digest = await sha256(content);
      if (digest !== null && digest !== record.sha256) throw new Error(`${record.path} is not the file that was sealed.`);
      return content;
    }),
  );
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  return new Classifier(manifest, variant, session, unpacked(golden));
}

/** In hex; null where the browser does not have it: it does on https and localhost only. */
async function sha256(content) {
  if (!globalThis.crypto?.subtle) return null;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Classifier {
  constructor(manifest, variant, session, golden) {
    Object.assign(this, { manifest, variant, session, golden, labels: manifest.labels, input: manifest.input });
  }

  /** Probabilities for pixels, a Uint8Array of whole images one after the other: a Float32Array of labels each. */
  async probabilities(pixels) {
    const { height, width } = this.input;
    const channels = this.input.colour === "L" ? 1 : 3;
    const count = pixels.length / (height * width * channels);
    const image = new ort.Tensor("uint8", pixels, [count, height, width, channels]);
    const { probabilities } = await this.session.run({ image });
    return probabilities.data;
  }

  /** Probabilities as labels: [{label, probability}], the most probable first, and whether the model is sure. */
  told(probabilities) {
    const ranked = Array.from(probabilities, (probability, i) => ({ label: this.labels[i], probability }));
    const thresholds = this.manifest.thresholds ?? [];
    const found = ranked.filter((_, i) => thresholds.length && probabilities[i] >= thresholds[i]);
    ranked.sort((one, other) => other.probability - one.probability);
    const sure = thresholds.length ? found.length > 0 : ranked[0].probability >= (this.manifest.unsure_below ?? 0);
    return { ranked, sure, found: found.map((each) => each.label) };
  }

  /** The golden pictures: the device reads files as training did, and answers as Keras did. */
  async verify() {
    const { images, probabilities, files, fileSizes, fileImages } = this.golden;
    const labels = this.labels.length;
    const count = probabilities.length / labels;
    const size = images.length / count;
    let largest = 0;
    let sameLabel = 0;
    for (let i = 0; i < count; i++) {
      const given = await this.probabilities(images.slice(i * size, (i + 1) * size));
      const wanted = probabilities.subarray(i * labels, (i + 1) * labels);
      const thresholds = this.manifest.thresholds ?? [];
      const decided = (values) => (thresholds.length ? values.map((p, j) => (p >= thresholds[j] ? 1 : 0)).join() : argmax(values));
      sameLabel += decided(given) === decided(wanted) ? 1 : 0;
      for (let j = 0; j < labels; j++) largest = Math.max(largest, Math.abs(given[j] - wanted[j]) || 0);
      if (given.some((value) => !Number.isFinite(value))) largest = Infinity;
    }
    let pixels = 0;
    let mean = 0;
    let start = 0;
    for (let i = 0; i < fileSizes.length; i++) {
      const file = new Blob([files.subarray(start, start + fileSizes[i])]);
      start += fileSizes[i];
      const given = await readPicture(file, this.input);
      const wanted = fileImages.subarray(i * size, (i + 1) * size);
      let total = 0;
      for (let j = 0; j < size; j++) {
        const off = Math.abs(given[j] - wanted[j]);
        pixels = Math.max(pixels, off);
        total += off;
      }
      mean = Math.max(mean, total / size);
    }
    const tolerance = this.variant.tolerance;
    return {
      passed: sameLabel === count && largest <= tolerance && pixels <= PIXEL_MOST && mean <= PIXEL_MEAN,
      pictures: count,
      sameLabel,
      largest,
      tolerance,
      files: fileSizes.length,
      pixels,
    };
  }
}

function argmax(values) {
  return values.reduce((best, value, i) => (value > values[best] ? i : best), 0);
}

/** The arrays of an .npz as numpy.savez writes it: a zip whose members are stored as they are. */
export function unpacked(content) {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const arrays = {};
  let place = 0;
  while (view.getUint32(place, true) === 0x04034b50) {
    const nameLength = view.getUint16(place + 26, true);
    const extraLength = view.getUint16(place + 28, true);
    const name = new TextDecoder().decode(content.subarray(place + 30, place + 30 + nameLength));
    const start = place + 30 + nameLength + extraLength;
    let size = view.getUint32(place + 22, true);
    if (size === 0xffffffff) size = Number(view.getBigUint64(place + 30 + nameLength + 4, true)); // zip64's extra field
    arrays[name.replace(".npy", "")] = parsed(content.slice(start, start + size));
    place = start + size;
  }
  return {
    images: arrays.images,
    probabilities: arrays.probabilities,
    files: arrays.files,
    fileSizes: Array.from(arrays.file_sizes, Number),
    fileImages: arrays.file_images,
  };
}

const KINDS = { "|u1": Uint8Array, "<f4": Float32Array, "<i8": BigInt64Array };

/** The numbers of an .npy: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. */
function parsed(content) {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const long = content[6] > 1;
  const length = long ? view.getUint32(8, true) : view.getUint16(8, true);
  const start = (long ? 12 : 10) + length;
  const header = new TextDecoder().decode(content.subarray(long ? 12 : 10, start));
  const kind = KINDS[/'descr': '([^']+)'/.exec(header)[1]];
  return kind ? new kind(content.slice(start).buffer) : null; // null: strings, which the manifest has, too
}
