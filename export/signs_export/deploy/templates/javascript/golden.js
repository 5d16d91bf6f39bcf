// Reads the golden pictures: the arrays of an .npz file that NumPy wrote.

/** The arrays of an .npz as numpy.savez writes it: a zip whose members are not compressed. */
export function unpacked(content) {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const arrays = {};
  let place = 0;
  while (view.getUint32(place, true) === 0x04034b50) {
    const nameLength = view.getUint16(place + 26, true);
    const extraLength = view.getUint16(place + 28, true);
    const name = new TextDecoder().decode(content.subarray(place + 30, place + 30 + nameLength));
    const start = place + 30 + nameLength + extraLength;
    let size = view.getUint32(place + 22, true);
    if (size === 0xffffffff) size = Number(view.getBigUint64(place + 30 + nameLength + 4, true)); // zip64's extra field
    arrays[name.replace(".npy", "")] = parsed(content.slice(start, start + size));
    place = start + size;
  }
  return {
    images: arrays.images,
    probabilities: arrays.probabilities,
    files: arrays.files,
    fileSizes: Array.from(arrays.file_sizes, Number),
    fileImages: arrays.file_images,
    labels: arrays.labels,
  };
}

const KINDS = { "|u1": Uint8Array, "<f4": Float32Array, "<i8": BigInt64Array };

/** The numbers of an .npy: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. */
function parsed(content) {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const long = content[6] > 1;
  const length = long ? view.getUint32(8, true) : view.getUint16(8, true);
  const start = (long ? 12 : 10) + length;
  const header = new TextDecoder().decode(content.subarray(long ? 12 : 10, start));
  const type = /'descr': '([^']+)'/.exec(header)[1];
  if (type.startsWith("<U")) return texts(new Uint32Array(content.slice(start).buffer), Number(type.slice(2)));
  return new KINDS[type](content.slice(start).buffer);
}

/** Texts of up to `length` characters each: one code point a number, padded with zeros. */
function texts(characters, length) {
  return Array.from({ length: characters.length / length }, (_, i) =>
    String.fromCodePoint(...characters.subarray(i * length, (i + 1) * length).filter((each) => each !== 0)),
  );
}
