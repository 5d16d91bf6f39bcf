#!/usr/bin/env node
// Labels picture files with a bundle, or proves the bundle on this machine.

import { readFile } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import * as ort from "onnxruntime-node";

import { openBundle } from "./classifier.js";
import { readPicture } from "./reading.js";

const USAGE = `node classify.js [--bundle FOLDER] [--variant NAME] PICTURE...   label pictures
node classify.js [--bundle FOLDER] [--variant NAME] --verify    prove the bundle on this machine
node classify.js --vectors FILE                                 check the bundle format's test vectors`;
const OPTIONS = {
  bundle: { type: "string", default: fileURLToPath(new URL("./bundle", import.meta.url)) },
  variant: { type: "string" },
  verify: { type: "boolean" },
  vectors: { type: "string" },
  help: { type: "boolean", short: "h" },
};

async function label(classifier, files) {
  let failed = 0;
  for (const file of files) {
    try {
      const probabilities = await classifier.probabilities(await readPicture(await readFile(file), classifier.input));
      const { ranked, sure, found } = classifier.told(probabilities);
      const labels = classifier.findsSeveral ? found.join(", ") || "none" : sure ? ranked[0].label : "unsure";
      const shares = classifier.labels.map((name, i) => `${name} ${probabilities[i].toFixed(4)}`);
      console.log([file, labels, ...shares].join("\t"));
    } catch (error) {
      failed += 1;
      console.error(`${file}: ${error.message}`);
    }
  }
  return failed === 0;
}

async function verify(classifier) {
  const proof = await classifier.verify();
  console.log(JSON.stringify({ variant: classifier.variant.name, ...proof }));
  return proof.passed;
}

/** Check each case of the test vectors: pixels must be equal, or within `most` levels for compressed pictures. */
async function readVectors(file) {
  const { pictures, cases } = JSON.parse(await readFile(file, "utf8"));
  let wrong = 0;
  for (const { picture, input, most, pixels } of cases) {
    const given = await readPicture(Buffer.from(pictures[picture], "base64"), input);
    const wanted = Buffer.from(pixels, "base64");
    const off = given.length === wanted.length ? wanted.reduce((so, value, i) => Math.max(so, Math.abs(value - given[i])), 0) : 255;
    if (off > most) {
      wrong += 1;
      console.error(`${picture} ${JSON.stringify(input)}: off by ${off}`);
    }
  }
  console.log(`${cases.length - wrong} of ${cases.length}`);
  return wrong === 0;
}

async function main() {
  const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true });
  if (values.vectors) return readVectors(values.vectors);
  if (values.help) {
    console.log(USAGE);
    return true;
  }
  if (!values.verify && positionals.length === 0) throw new Error(USAGE);
  const fetched = async (name) => new Uint8Array(await readFile(path.join(values.bundle, name)));
  const classifier = await openBundle(values.variant ?? null, { fetched, read: readPicture, ort, options: {} });
  return values.verify ? verify(classifier) : label(classifier, positionals);
}

main().then(
  (passed) => {
    process.exitCode = passed ? 0 : 1;
  },
  (error) => {
    console.error(error.message);
    process.exitCode = 2;
  },
);
