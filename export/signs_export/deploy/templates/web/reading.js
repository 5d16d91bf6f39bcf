// Turns a picture file into the model's pixels, as the Python runtime does: decode, turn, colour, resize.
//
// An image is {width, height, channels, data}: channels is 3 (red first) or 1, data a Uint8Array, row by row.

const WHITE = 255;

/** A picture file (a Blob) as the model wants it, by the manifest's `input`: a Uint8Array of height * width * channels. */
export async function readPicture(file, input) {
  const image = toMode(await decode(file, input.exif ?? "turned"), modeOf(input));
  return ordered(resized(image, input), input);
}

/** A video frame or a canvas as the model wants it. */
export function readFrame(source, width, height, input) {
  const image = toMode(pixelsOf(source, width, height), modeOf(input));
  return ordered(resized(image, input), input);
}

function modeOf(input) {
  return input.colour === "L" ? "L" : "RGB";
}

/** RGBA pixels of a file, turned by its EXIF or not. */
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
  return { width, height, channels: 4, data: context.getImageData(0, 0, width, height).data };
}

/** A JPEG without its EXIF, since browsers turn what has one; other files as they are. */
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

/** RGBA to RGB or greyscale by Pillow's arithmetic; transparent pixels show white. */
function toMode({ width, height, data }, mode) {
  const count = width * height;
  const channels = mode === "L" ? 1 : 3;
  const made = new Uint8Array(count * channels);
  for (let i = 0; i < count; i++) {
    const alpha = data[4 * i + 3];
    let red = data[4 * i];
    let green = data[4 * i + 1];
    let blue = data[4 * i + 2];
    if (alpha !== 255) {
      // A canvas holds colours times alpha; rounding once more gives these back exactly.
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

function ordered(image, input) {
  if (input.colour !== "BGR") return image.data;
  const data = image.data.slice();
  for (let i = 0; i < data.length; i += 3) [data[i], data[i + 2]] = [data[i + 2], data[i]];
  return data;
}

/** At the model's size, by the manifest's `fit` and `resize`. */
export function resized(image, input) {
  const { width, height } = input;
  if (image.width === width && image.height === height) return image;
  const filter = input.resize ?? "bilinear";
  const fit = input.fit ?? "stretch";
  return filter in PILLOW || filter === "nearest" ? byPillow(image, width, height, filter, fit) : sampled(image, width, height, filter, fit);
}

// --- Pillow ---------------------------------------------------------------------------------------------------------
// Its Resample.c: weights in fixed point, across first, then down, each rounded to 8 bits.

const BITS = 22;
const single = Math.fround;

const PILLOW = {
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

function byPillow(image, width, height, filter, fit) {
  const whole = [image.width, image.height];
  const target = [width, height];
  const box = (fit === "crop" ? centre(whole, target) : [0, 0, ...whole]).map(single);
  const size = fit === "pad" ? contained(whole, target) : target;
  const made = { width, height, channels: image.channels, data: new Uint8Array(width * height * image.channels) };
  if (Math.min(...size) === 0) return made;
  const stretched = filter === "nearest" ? nearest(image, size, box) : resample(image, size, box, PILLOW[filter]);
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

/** As Python rounds. */
function roundHalfEven(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
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
  // Down first where that drops far more: Pillow does from 13 on.
  const downFirst = image.height > height && image.height - height > 2 * (image.width - width);
  return downFirst ? across(down(image)) : down(across(image));
}

/** For each new place the first old one, and the weights from there on, in fixed point. */
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

/** The crossings of these columns and rows; black where they lie beyond the edges. */
function picked({ width, height, channels, data }, columns, rows) {
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

// --- TensorFlow and OpenCV ------------------------------------------------------------------------------------------
// Their arithmetic, in float32 where they have it.

const FIXED = 2048;
const SLIVER = 1e-3;

function sampled(image, width, height, filter, fit) {
  const [across, down] = spans(image.width, image.height, width, height, fit);
  if (filter === "cv2-area" && across.length >= width && down.length >= height) {
    return averaged(image, width, height, across, down);
  }
  const columns = STEPS[filter](across.length, width);
  const rows = STEPS[filter](down.length, height);
  const from = (places, start) => places.map((place) => place + start);
  if (columns.share === null || rows.share === null) {
    return picked(image, from(columns.first, across.start), from(rows.first, down.start));
  }
  const corner = (x, y) => picked(image, from(columns[x], across.start), from(rows[y], down.start)).data;
  const corners = [corner("first", "first"), corner("second", "first"), corner("first", "second"), corner("second", "second")];
  const mix = filter === "tf-bilinear" ? mixedInFloat : mixedInIntegers;
  const channels = image.channels;
  const data = new Uint8Array(width * height * channels);
  for (let i = 0; i < data.length; i++) {
    const x = Math.floor(i / channels) % width;
    const y = Math.floor(i / (channels * width));
    const share = columns.first[x] === columns.second[x] ? 0 : columns.share[x];
    data[i] = mix(corners[0][i], corners[1][i], corners[2][i], corners[3][i], share, rows.share[y]);
  }
  return { width, height, channels, data };
}

function spans(width, height, across, down, fit) {
  const span = (start, length) => ({ start, length });
  if (fit === "stretch") return [span(0, width), span(0, height)];
  const ownHeight = Math.trunc(single(single(width * down) / single(across)));
  const ownWidth = Math.trunc(single(single(height * across) / single(down)));
  if (fit === "crop") {
    const taken = [Math.max(1, Math.min(width, ownWidth)), Math.max(1, Math.min(height, ownHeight))];
    return [span(Math.floor((width - taken[0]) / 2), taken[0]), span(Math.floor((height - taken[1]) / 2), taken[1])];
  }
  const border = [Math.floor((Math.max(width, ownWidth) - width) / 2), Math.floor((Math.max(height, ownHeight) - height) / 2)];
  return [span(-border[0], width + 2 * border[0]), span(-border[1], height + 2 * border[1])];
}

const range = (count, make) => Array.from({ length: count }, (_, i) => make(i));
const clipped = (value, old) => Math.min(old - 1, Math.max(0, value));

const STEPS = {
  "tf-nearest": (old, count) => {
    const scale = single(single(old) / single(count));
    const first = range(count, (i) => Math.min(Math.floor(single(single(i + 0.5) * scale)), old - 1));
    return { first, second: first, share: null };
  },
  "tf-bilinear": (old, count) => {
    const scale = single(single(old) / single(count));
    const places = range(count, (i) => single(single(single(i + 0.5) * scale) - 0.5));
    return {
      first: places.map((place) => Math.max(Math.floor(place), 0)),
      second: places.map((place) => Math.min(Math.ceil(place), old - 1)),
      share: places.map((place) => single(place - Math.floor(place))),
    };
  },
  "cv2-nearest": (old, count) => {
    const first = range(count, (i) => Math.min(Math.floor(i * (1 / (count / old))), old - 1));
    return { first, second: first, share: null };
  },
  "cv2-linear": (old, count) => {
    const places = range(count, (i) => single((i + 0.5) * (1 / (count / old)) - 0.5));
    return between(places.map(Math.floor), places.map((place) => single(place - Math.floor(place))), old);
  },
  "cv2-area": (old, count) => {
    const below = range(count, (i) => Math.floor(i * (1 / (count / old))));
    const share = range(count, (i) => {
      const own = single(i + 1 - (below[i] + 1) * (count / old));
      return own <= 0 ? 0 : single(own - Math.floor(own));
    });
    return between(below, share, old);
  },
};

function between(below, share, old) {
  return { first: below.map((place) => clipped(place, old)), second: below.map((place) => clipped(place + 1, old)), share };
}

function mixedInFloat(topLeft, topRight, bottomLeft, bottomRight, across, down) {
  const upper = single(topLeft + single((topRight - topLeft) * across));
  const lower = single(bottomLeft + single((bottomRight - bottomLeft) * across));
  return roundHalfEven(single(upper + single(single(lower - upper) * down)));
}

function mixedInIntegers(topLeft, topRight, bottomLeft, bottomRight, across, down) {
  const fixed = (share) => [roundHalfEven(single(single(1 - share) * FIXED)), roundHalfEven(single(share * FIXED))];
  const [first, second] = fixed(across);
  const upper = (topLeft * first + topRight * second) >> 4;
  const lower = (bottomLeft * first + bottomRight * second) >> 4;
  const [above, below] = fixed(down);
  return (((upper * above) >> 16) + ((lower * below) >> 16) + 2) >> 2;
}

/** OpenCV's mean of all that a new pixel covers. */
function averaged(image, width, height, across, down) {
  const wide = across.length / width;
  const high = down.length / height;
  const whole = Number.isInteger(wide) && Number.isInteger(high);
  const shares = whole ? wholeShares : coveredShares;
  const columns = within(shares(across.length, width), across.start, image.width);
  const rows = within(shares(down.length, height), down.start, image.height);
  const keep = whole ? (value) => value : single;
  const channels = image.channels;
  const lines = summed(image.data, image.width, image.height, channels, columns, keep); // (height, new width)
  const data = new Uint8Array(width * height * channels);
  for (let y = 0; y < height; y++) {
    for (let i = 0; i < width * channels; i++) {
      let total = 0;
      for (const [place, share] of rows[y]) total = keep(total + keep(lines[place * width * channels + i] * share));
      let mean = roundHalfEven(total);
      if (whole && wide === 2 && high === 2) mean = (total + 2) >> 2;
      else if (whole) mean = roundHalfEven(single(single(total) * single(1 / single(wide * high))));
      data[y * width * channels + i] = mean;
    }
  }
  return { width, height, channels, data };
}

function summed(data, width, height, channels, columns, keep) {
  const made = new Float64Array(height * columns.length * channels);
  for (let y = 0; y < height; y++) {
    columns.forEach((own, x) => {
      for (let c = 0; c < channels; c++) {
        let total = 0;
        for (const [place, share] of own) total = keep(total + keep(data[(y * width + place) * channels + c] * share));
        made[(y * columns.length + x) * channels + c] = total;
      }
    });
  }
  return made;
}

/** The pairs of place and share that each new place is made of. */
function wholeShares(old, count) {
  const times = old / count;
  return range(count, (i) => range(times, (step) => [i * times + step, 1]));
}

function coveredShares(old, count) {
  const scale = 1 / (count / old);
  return range(count, (i) => {
    const begin = i * scale;
    const end = (i + 1) * scale;
    const covered = Math.min(scale, old - begin);
    const last = Math.min(Math.floor(end), old - 1);
    const first = Math.min(Math.ceil(begin), last);
    const own = [];
    if (first - begin > SLIVER) own.push([Math.max(first - 1, 0), single((first - begin) / covered)]);
    for (let place = first; place < last; place++) own.push([place, single(1 / covered)]);
    if (end - last > SLIVER) own.push([last, single(Math.min(end - last, 1, covered) / covered)]);
    return own;
  });
}

function within(shares, start, length) {
  return shares.map((own) => own.map(([place, share]) => [place + start, share]).filter(([place]) => place >= 0 && place < length));
}
