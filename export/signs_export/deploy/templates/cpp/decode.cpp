#include "decode.hpp"

#include <cstring>
#include <stdexcept>
#include <string>

#define STB_IMAGE_IMPLEMENTATION
#define STBI_NO_STDIO
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_ONLY_GIF
#include <stb_image.h>

#include "jpeg.hpp"
#include "limits.hpp"

namespace {
using Bytes = std::vector<std::uint8_t>;

/// Reads numbers of a TIFF header in either byte order; 0 beyond its end.
struct Tiff {
  const std::uint8_t* start;
  std::size_t size;

  unsigned number(std::size_t place, int bytes) const {
    if (place + bytes > size) return 0;
    unsigned value = 0;
    for (int i = 0; i < bytes; ++i) value = value << 8 | start[place + (start[0] == 'I' ? bytes - 1 - i : i)];
    return value;
  }

  int orientation() const {
    const std::size_t directory = number(4, 4);
    const unsigned entries = number(directory, 2);
    for (unsigned i = 0; i < entries; ++i) {
      const std::size_t entry = directory + 2 + 12 * std::size_t(i);
      const int bytes = number(entry + 2, 2) == 4 ? 4 : 2;  // LONG, or SHORT
      if (number(entry, 2) == 0x0112) return int(number(entry + 8, bytes));
    }
    return 1;
  }
};

/// The TIFF header of a JPEG or a PNG, which has the EXIF orientation; empty if there is none.
Tiff exif_of(const Bytes& file) {
  if (file.size() > 4 && file[0] == 0xff && file[1] == 0xd8) {
    for (std::size_t place = 2; place + 10 <= file.size() && file[place] == 0xff && file[place + 1] != 0xda;) {
      if (file[place + 1] == 0xff) {  // padding
        ++place;
        continue;
      }
      const std::size_t length = file[place + 2] << 8 | file[place + 3];
      if (place + 2 + length > file.size()) break;
      if (file[place + 1] == 0xe1 && length > 8 && std::memcmp(&file[place + 4], "Exif\0\0", 6) == 0) {
        return {&file[place + 10], length - 8};
      }
      place += 2 + length;
    }
  }
  if (file.size() > 8 && std::memcmp(file.data(), "\x89PNG", 4) == 0) {
    for (std::size_t place = 8; place + 12 <= file.size();) {
      const std::size_t length = std::size_t(file[place]) << 24 | file[place + 1] << 16 | file[place + 2] << 8 | file[place + 3];
      if (length > file.size() - place - 12) break;
      if (std::memcmp(&file[place + 4], "eXIf", 4) == 0) return {&file[place + 8], length};
      place += 12 + length;
    }
  }
  return {nullptr, 0};
}

/// Orientations 5 to 8 swap rows and columns. Each orientation then mirrors rows, columns or both, or neither.
Image turned_by(int orientation, const Image& image) {
  const bool swapped = orientation >= 5;
  const bool across = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
  const bool down = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
  Image made(swapped ? image.height : image.width, swapped ? image.width : image.height, image.channels);
  for (int y = 0; y < made.height; ++y) {
    for (int x = 0; x < made.width; ++x) {
      const int from_x = across ? made.width - 1 - x : x;
      const int from_y = down ? made.height - 1 - y : y;
      std::memcpy(made.at(x, y), swapped ? image.at(from_y, from_x) : image.at(from_x, from_y), made.channels);
    }
  }
  return made;
}
Image decode_other(const Bytes& file) {
  int width = 0;
  int height = 0;
  int channels = 0;
  const bool known = stbi_info_from_memory(file.data(), int(file.size()), &width, &height, &channels);
  if (known && !is_allowed(width, height)) throw std::runtime_error(too_many_pixels());
  stbi_uc* pixels = stbi_load_from_memory(file.data(), int(file.size()), &width, &height, &channels, 4);
  if (!pixels) throw std::runtime_error(std::string("this file cannot be read as a picture: ") + stbi_failure_reason());
  Image image(width, height, 4);
  std::memcpy(image.data.data(), pixels, image.data.size());
  stbi_image_free(pixels);
  return image;
}
}  // namespace

Image decode(const Bytes& file, bool turned) {
  const Image image = is_jpeg(file) ? decode_jpeg(file) : decode_other(file);
  const Tiff exif = turned ? exif_of(file) : Tiff{nullptr, 0};
  const int orientation = exif.size > 8 ? exif.orientation() : 1;
  return orientation >= 2 && orientation <= 8 ? turned_by(orientation, image) : image;
}
