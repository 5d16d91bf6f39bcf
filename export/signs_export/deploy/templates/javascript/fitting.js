// Turns decoded pixels into the model's image, as the Python runtime does: colour, then size, then channel order.

import { withColour } from "./image.js";
import { byPillow, FILTERS } from "./pillow.js";
import { sampled } from "./sampling.js";

/** Turn RGBA pixels into the model's image: a Uint8Array of height * width * channels, by the manifest's `input`. */
export function fitted(rgba, input) {
  return ordered(resized(withColour(rgba, input.colour), input), input);
}

/** Resize to the model's size, by the manifest's `fit` and `resize`. */
export function resized(image, input) {
  const { width, height } = input;
  if (image.width === width && image.height === height) return image;
  const filter = input.resize ?? "bilinear";
  const fit = input.fit ?? "stretch";
  return filter in FILTERS || filter === "nearest" ? byPillow(image, width, height, filter, fit) : sampled(image, width, height, filter, fit);
}

function ordered(image, input) {
  if (input.colour !== "BGR") return image.data;
  const data = image.data.slice();
  for (let i = 0; i < data.length; i += 3) [data[i], data[i + 2]] = [data[i + 2], data[i]];
  return data;
}
