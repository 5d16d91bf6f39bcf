// Decodes picture files with sharp, and turns them into the images that the model takes.

import sharp from "sharp";
import { fitted } from "./fitting.js";

// As in training: no colour management, and a decoder's warnings are not errors.
const OPTIONS = { ignoreIcc: true, failOn: "error", limitInputPixels: 89_478_485 };

/** Turn a picture file's bytes into the model's image, as the manifest's `input` describes. */
export async function readPicture(content, input) {
  const opened = sharp(content, OPTIONS);
  const { space } = await opened.metadata();
  const turned = input.exif === "ignored" ? opened : opened.rotate();
  const inks = space === "cmyk";
  const coloured = inks ? turned.pipelineColourspace("cmyk").toColourspace("cmyk") : turned.toColourspace("srgb").ensureAlpha();
  const { data, info } = await coloured.raw().toBuffer({ resolveWithObject: true });
  if (inks) mixInks(data);
  return fitted({ width: info.width, height: info.height, channels: 4, data }, input);
}

/** Convert CMYK to RGBA in place, without a colour profile. */
function mixInks(data) {
  for (let i = 0; i < data.length; i += 4) {
    const light = 255 - data[i + 3];
    for (let c = 0; c < 3; c++) data[i + c] = Math.round(((255 - data[i + c]) * light) / 255);
    data[i + 3] = 255;
  }
}
