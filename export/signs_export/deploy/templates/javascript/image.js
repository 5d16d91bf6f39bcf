// Operations on images: {width, height, channels, data}, where data is a Uint8Array, row by row.

const WHITE = 255;

export const single = Math.fround;

/** Round as Python does: halves to the even number. */
export function roundHalfEven(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

/** The pixels at these columns and rows; black if they lie outside the image. */
export function picked({ width, height, channels, data }, columns, rows) {
  const made = new Uint8Array(columns.length * rows.length * channels);
  let place = 0;
  for (const y of rows) {
    for (const x of columns) {
      const inside = x >= 0 && x < width && y >= 0 && y < height;
      for (let c = 0; c < channels; c++) made[place++] = inside ? data[(y * width + x) * channels + c] : 0;
    }
  }
  return { width: columns.length, height: rows.length, channels, data: made };
}

/** Convert RGBA to the manifest's `colour` as Pillow does (BGR stays red first). Transparent pixels become white. */
export function withColour({ width, height, data }, colour) {
  const count = width * height;
  const channels = colour === "L" ? 1 : 3;
  const made = new Uint8Array(count * channels);
  for (let i = 0; i < count; i++) {
    const alpha = data[4 * i + 3];
    let red = data[4 * i];
    let green = data[4 * i + 1];
    let blue = data[4 * i + 2];
    if (alpha !== 255) {
      red = Math.round((red * alpha) / 255) + WHITE - alpha;
      green = Math.round((green * alpha) / 255) + WHITE - alpha;
      blue = Math.round((blue * alpha) / 255) + WHITE - alpha;
    }
    if (channels === 1) {
      made[i] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    } else {
      made[3 * i] = red;
      made[3 * i + 1] = green;
      made[3 * i + 2] = blue;
    }
  }
  return { width, height, channels, data: made };
}
