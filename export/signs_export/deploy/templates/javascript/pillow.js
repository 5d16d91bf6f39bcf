// Pillow's Image.resize, bit for bit: weights in fixed point, each direction rounded to 8 bits.

import { picked, roundHalfEven, single } from "./image.js";

const BITS = 22;

export const FILTERS = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: {
    support: 1,
    weight: (x) => {
      const away = Math.abs(x) * Math.PI;
      if (away === 0) return 1;
      return Math.abs(x) >= 1 ? 0 : (Math.sin(away) / away) * (0.54 + 0.46 * Math.cos(away));
    },
  },
  bicubic: {
    support: 2,
    weight: (x) => {
      const a = -0.5;
      const away = Math.abs(x);
      if (away < 1) return ((a + 2) * away - (a + 3)) * away * away + 1;
      return away < 2 ? (((away - 5) * away + 8) * away - 4) * a : 0;
    },
  },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

function sinc(x) {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/** Resize as Pillow does. `filter` is one of FILTERS, or nearest. */
export function byPillow(image, width, height, filter, fit) {
  const whole = [image.width, image.height];
  const target = [width, height];
  const box = (fit === "crop" ? centre(whole, target) : [0, 0, ...whole]).map(single);
  const size = fit === "pad" ? contained(whole, target) : target;
  const made = { width, height, channels: image.channels, data: new Uint8Array(width * height * image.channels) };
  if (Math.min(...size) === 0) return made;
  const stretched = filter === "nearest" ? nearest(image, size, box) : resample(image, size, box, FILTERS[filter]);
  if (size[0] === width && size[1] === height) return stretched;
  const left = roundHalfEven((width - size[0]) * 0.5);
  const top = roundHalfEven((height - size[1]) * 0.5);
  for (let y = 0; y < size[1]; y++) {
    const line = stretched.data.subarray(y * size[0] * image.channels, (y + 1) * size[0] * image.channels);
    made.data.set(line, ((y + top) * width + left) * image.channels);
  }
  return made;
}

function centre([width, height], [across, down]) {
  const ratio = width / height;
  const wanted = across / down;
  let taken = [width, height];
  if (ratio > wanted) taken = [wanted * height, height];
  else if (ratio < wanted) taken = [width, width / wanted];
  const left = (width - taken[0]) * 0.5;
  const top = (height - taken[1]) * 0.5;
  return [left, top, left + taken[0], top + taken[1]];
}

function contained([width, height], [across, down]) {
  const ratio = width / height;
  const wanted = across / down;
  if (ratio > wanted) return [across, roundHalfEven((height / width) * across)];
  if (ratio < wanted) return [roundHalfEven((width / height) * down), down];
  return [across, down];
}

function nearest(image, [width, height], [left, top, right, bottom]) {
  const places = (count, from, to) => {
    const step = single(to - from) / count;
    const found = new Int32Array(count);
    let place = from + step * 0.5;
    for (let i = 0; i < count; i++, place += step) found[i] = Math.trunc(place);
    return found;
  };
  return picked(image, places(width, left, right), places(height, top, bottom));
}

function resample(image, [width, height], [left, top, right, bottom], filter) {
  const across = (given) =>
    width !== image.width || left !== 0 || right !== width
      ? transposed(alongRows(transposed(given), weights(image.width, left, right, width, filter)))
      : given;
  const down = (given) =>
    height !== image.height || top !== 0 || bottom !== height
      ? alongRows(given, weights(image.height, top, bottom, height, filter))
      : given;
  // Pillow 13 and newer resize vertically first if that drops far more rows than columns.
  const downFirst = image.height > height && image.height - height > 2 * (image.width - width);
  return downFirst ? across(down(image)) : down(across(image));
}

/** For each new position: the first old position, and the weights from there on, in fixed point. */
function weights(old, from, to, count, { support, weight }) {
  const scale = single(to - from) / count;
  const wide = Math.max(scale, 1);
  const reach = support * wide;
  const found = [];
  for (let i = 0; i < count; i++) {
    const middle = from + (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(middle - reach + 0.5));
    const end = Math.min(old, Math.trunc(middle + reach + 0.5));
    const own = [];
    let total = 0;
    for (let x = first; x < end; x++) {
      own.push(weight((x - middle + 0.5) * (1 / wide)));
      total += own.at(-1);
    }
    const fixed = own.map((each) => {
      const share = total === 0 ? each : each / total;
      return Math.trunc(share * 2 ** BITS + (share < 0 ? -0.5 : 0.5));
    });
    found.push([first, fixed]);
  }
  return found;
}

/** New rows, each a weighted sum of old ones. */
function alongRows({ width, channels, data }, rows) {
  const line = width * channels;
  const made = new Uint8Array(rows.length * line);
  rows.forEach(([first, shares], y) => {
    for (let x = 0; x < line; x++) {
      let sum = 2 ** (BITS - 1);
      for (let i = 0; i < shares.length; i++) sum += data[(first + i) * line + x] * shares[i];
      made[y * line + x] = Math.min(255, Math.max(0, Math.floor(sum / 2 ** BITS)));
    }
  });
  return { width, height: rows.length, channels, data: made };
}

function transposed({ width, height, channels, data }) {
  const made = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < channels; c++) made[(x * height + y) * channels + c] = data[(y * width + x) * channels + c];
    }
  }
  return { width: height, height: width, channels, data: made };
}
