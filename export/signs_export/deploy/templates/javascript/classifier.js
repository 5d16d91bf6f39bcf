// A bundle that was opened: what it answers, and its proof on this device.

import { unpacked } from "./golden.js";

const SCHEMAS = [4, 5, 6];
const PIXEL_MOST = 3; // of 255: as `signs verify` allows for other decoders
const PIXEL_MEAN = 1;

/**
 * Open the variant `name` of a bundle; null takes int8, or the first. `fetched` gives a file's bytes by its name, `read`
 * takes a picture file's bytes and the manifest's `input` to pixels, `ort` is onnxruntime, and `options` are its
 * session's. Throws where a file is not the one that was sealed.
 */
export async function openBundle(name, { fetched, read, ort, options }) {
  const manifest = JSON.parse(new TextDecoder().decode(await fetched("manifest.json")));
  if (!SCHEMAS.includes(manifest.schema)) throw new Error(`The bundle is of schema ${manifest.schema}.`);
  const named = (wanted) => manifest.variants.find((each) => each.name === wanted);
  const variant = name === null ? (named("int8") ?? manifest.variants[0]) : named(name);
  if (!variant) throw new Error(`The bundle has no ${name}; it has ${manifest.variants.map((each) => each.name).join(", ")}.`);
  const [model, golden] = await Promise.all(
    [variant.file, manifest.golden.file].map(async (record) => {
      const content = await fetched(record.path);
      const digest = await sha256(content);
      if (digest !== null && digest !== record.sha256) throw new Error(`${record.path} is not the file that was sealed.`);
      return content;
    }),
  );
  const session = await ort.InferenceSession.create(model, options);
  const run = async (pixels, shape) => {
    const { probabilities } = await session.run({ image: new ort.Tensor("uint8", pixels, shape) });
    return probabilities.data;
  };
  const thresholds = manifest.thresholds ?? [];
  if (thresholds.length && thresholds.length !== manifest.labels.length) throw new Error("A label has no threshold.");
  return new Classifier(manifest, variant, unpacked(golden), { run, read });
}

/** In hex; null where a browser does not have it: it does on https and localhost only. */
async function sha256(content) {
  if (!globalThis.crypto?.subtle) return null;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Classifier {
  /** A model that runs: `run` takes pixels and their shape to probabilities, `read` a picture file's bytes to pixels. */
  constructor(manifest, variant, golden, { run, read }) {
    Object.assign(this, { manifest, variant, golden, run, read, labels: manifest.labels, input: manifest.input });
  }

  /** Whether each label is decided on its own. */
  get findsSeveral() {
    return (this.manifest.thresholds ?? []).length > 0;
  }

  /** Probabilities for pixels, a Uint8Array of whole images one after the other: a Float32Array of labels each. */
  async probabilities(pixels) {
    const { height, width } = this.input;
    const channels = this.input.colour === "L" ? 1 : 3;
    const count = pixels.length / (height * width * channels);
    const found = await this.run(pixels, [count, height, width, channels]);
    if (found.length !== count * this.labels.length) throw new Error("The model has other labels than its manifest.");
    if (!found.every(Number.isFinite)) throw new Error("The model answers with NaN or infinite numbers.");
    return found;
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
    if (this.golden.labels.length !== labels) throw new Error("The golden pictures have other labels than the manifest.");
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
