// The resize filters of TensorFlow and OpenCV, in float32 wherever they use it.

import { picked, roundHalfEven, single } from "./image.js";

const FIXED = 2048;
const SLIVER = 1e-3;

export function sampled(image, width, height, filter, fit) {
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

/** OpenCV's INTER_AREA: the mean of the old pixels that a new pixel covers. */
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

/** For each new position: the old positions that it covers, each with its share. */
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
