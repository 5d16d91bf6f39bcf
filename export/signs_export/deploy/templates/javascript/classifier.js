// Opens a bundle, answers pictures, and proves the bundle on this device.

import { unpacked } from "./golden.js";

const SCHEMAS = [4, 5, 6];
const PIXEL_MOST = 3; // of 255: as `signs verify` allows for other decoders
const PIXEL_MEAN = 1;

/**
 * Open the variant `name` of a bundle; null opens int8 if there is one, else the first. `fetched` returns a file's bytes
 * by its name. `read` turns a picture file's bytes into pixels, as the manifest's `input` describes. `ort` is onnxruntime,
 * and `options` are for its session. Throws an Error if a file is not the one that was sealed.
 */
export async function openBundle(name, { fetched, read, ort, options }) {
  const manifest = JSON.parse(new TextDecoder().decode(await fetched("manifest.json")));
  if (!SCHEMAS.includes(manifest.schema)) throw new Error(`The bundle has schema ${manifest.schema}; this program reads ${SCHEMAS.join(", ")}.`);
  const named = (wanted) => manifest.variants.find((each) => each.name === wanted);
  const variant = name === null ? (named("int8") ?? manifest.variants[0]) : named(name);
  if (!variant) throw new Error(`The bundle has no variant ${name}; it has ${manifest.variants.map((each) => each.name).join(", ")}.`);
  const [model, golden] = await Promise.all(
    [variant.file, manifest.golden.file].map(async (record) => {
      const content = await fetched(record.path);
      const digest = await sha256(content);
      if (digest !== null && digest !== record.sha256) throw new Error(`${record.path} is not the file that was sealed. Copy the bundle again.`);
      return content;
    }),
  );
  const session = await ort.InferenceSession.create(model, options);
  const run = async (pixels, shape) => {
    const { probabilities } = await session.run({ image: new ort.Tensor("uint8", pixels, shape) });
    return probabilities.data;
  };
  const thresholds = manifest.thresholds ?? [];
  if (thresholds.length && thresholds.length !== manifest.labels.length) throw new Error("The manifest does not have one threshold for each label.");
  return new Classifier(manifest, variant, unpacked(golden), { run, read });
}

/** The digest in hex; null if the browser has none, as it has one only on https and localhost. */
async function sha256(content) {
  if (!globalThis.crypto?.subtle) return null;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Classifier {
  /** A loaded model: `run` turns pixels and their shape into probabilities, `read` a picture file's bytes into pixels. */
  constructor(manifest, variant, golden, { run, read }) {
    Object.assign(this, { manifest, variant, golden, run, read, labels: manifest.labels, input: manifest.input });
  }

  /** Whether each label is decided on its own. */
  get findsSeveral() {
    return (this.manifest.thresholds ?? []).length > 0;
  }

  /** The probabilities (Float32Array, labels an image) of pixels (Uint8Array, whole images one after the other). */
  async probabilities(pixels) {
    const { height, width } = this.input;
    const channels = this.input.colour === "L" ? 1 : 3;
    const count = pixels.length / (height * width * channels);
    const found = await this.run(pixels, [count, height, width, channels]);
    if (found.length !== count * this.labels.length) throw new Error("The model's outputs do not match the labels in the manifest.");
    if (!found.every(Number.isFinite)) throw new Error("The model's answer has NaN or infinite numbers.");
    return found;
  }

  /** What probabilities mean: [{label, probability}], the most probable first, and whether the model is sure. */
  told(probabilities) {
    const ranked = Array.from(probabilities, (probability, i) => ({ label: this.labels[i], probability }));
    const thresholds = this.manifest.thresholds ?? [];
    const found = ranked.filter((_, i) => thresholds.length && probabilities[i] >= thresholds[i]);
    ranked.sort((one, other) => other.probability - one.probability);
    const sure = thresholds.length ? found.length > 0 : ranked[0].probability >= (this.manifest.unsure_below ?? 0);
    return { ranked, sure, found: found.map((each) => each.label) };
  }

  /** Check on the golden pictures that this device reads files as training did, and answers as Keras did. */
  async verify() {
    const { images, probabilities, files, fileSizes, fileImages } = this.golden;
    const labels = this.labels.length;
    if (this.golden.labels.length !== labels) throw new Error("The golden pictures and the manifest have different labels.");
    const sameOrder = JSON.stringify(this.golden.labels) === JSON.stringify(this.labels);
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
      for (let j = 0; j < labels; j++) largest = Math.max(largest, Math.abs(given[j] - wanted[j]));
    }
    let pixels = 0;
    let mean = 0;
    let start = 0;
    for (let i = 0; i < fileSizes.length; i++) {
      const given = await this.read(files.subarray(start, start + fileSizes[i]), this.input);
      start += fileSizes[i];
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
      passed: sameOrder && count > 0 && sameLabel === count && largest <= tolerance && pixels <= PIXEL_MOST && mean <= PIXEL_MEAN,
      sameOrder,
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
