// Decodes picture files and camera frames in the browser, and turns them into the images that the model takes.

import { fitted } from "./fitting.js";

/** Turn a picture file (a Blob) into the model's image, as the manifest's `input` describes. */
export async function readPicture(file, input) {
  return fitted(await decode(file, input.exif ?? "turned"), input);
}

/** Turn a video frame or a canvas into the model's image. */
export function readFrame(source, width, height, input) {
  return fitted(pixelsOf(source, width, height), input);
}

/** Decode a file to RGBA pixels, rotated by its EXIF orientation unless `exif` is "ignored". */
async function decode(file, exif) {
  const shown = exif === "ignored" ? new Blob([withoutOrientation(new Uint8Array(await file.arrayBuffer()))]) : file;
  const bitmap = await createImageBitmap(shown, { colorSpaceConversion: "none" });
  try {
    return pixelsOf(bitmap, bitmap.width, bitmap.height);
  } finally {
    bitmap.close();
  }
}

function pixelsOf(source, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(source, 0, 0, width, height);
  // A canvas holds colours times alpha; rounding once more in `fitted` makes the result exact again.
  return { width, height, channels: 4, data: context.getImageData(0, 0, width, height).data };
}

/** Remove the EXIF of a JPEG, because browsers rotate by it. Other files are returned unchanged. */
export function withoutOrientation(bytes) {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return bytes;
  const kept = [bytes.subarray(0, 2)];
  let place = 2;
  while (place + 4 <= bytes.length && bytes[place] === 0xff && bytes[place + 1] !== 0xda) {
    const end = place + 2 + (bytes[place + 2] << 8) + bytes[place + 3];
    if (bytes[place + 1] !== 0xe1) kept.push(bytes.subarray(place, end));
    place = end;
  }
  kept.push(bytes.subarray(place));
  const made = new Uint8Array(kept.reduce((total, part) => total + part.length, 0));
  let filled = 0;
  for (const part of kept) {
    made.set(part, filled);
    filled += part.length;
  }
  return made;
}
