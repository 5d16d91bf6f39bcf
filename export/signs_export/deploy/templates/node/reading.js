// Decodes picture files with sharp, and makes of them what the model takes.

import sharp from "sharp";
import { fitted } from "./fitting.js";

/** A picture file's bytes as the model wants it, by the manifest's `input`. */
export async function readPicture(content, input) {
  const opened = sharp(content, { ignoreIcc: true }); // as training read it: no colour management
  const turned = input.exif === "ignored" ? opened : opened.rotate();
  const { data, info } = await turned.toColourspace("srgb").ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  return fitted({ width: info.width, height: info.height, channels: 4, data }, input);
}
