#include "image.hpp"

#include <cmath>

namespace {
constexpr int white = 255;

int over_white(int value, int alpha) { return int(std::floor(double(value) * alpha / white + 0.5)) + white - alpha; }
}  // namespace

double round_half_even(double value) {
  const double below = std::floor(value);
  if (value - below != 0.5) return std::floor(value + 0.5);
  return std::fmod(below, 2) == 0 ? below : below + 1;
}

Image picked(const Image& image, const std::vector<int>& columns, const std::vector<int>& rows) {
  Image made(int(columns.size()), int(rows.size()), image.channels);
  auto* place = made.data.data();
  for (const int y : rows) {
    for (const int x : columns) {
      const bool inside = x >= 0 && x < image.width && y >= 0 && y < image.height;
      for (int c = 0; c < image.channels; ++c) *place++ = inside ? image.at(x, y)[c] : 0;
    }
  }
  return made;
}

Image with_colour(const Image& rgba, const std::string& colour) {
  Image made(rgba.width, rgba.height, colour == "L" ? 1 : 3);
  const std::size_t count = std::size_t(rgba.width) * rgba.height;
  for (std::size_t i = 0; i < count; ++i) {
    const auto* from = rgba.data.data() + 4 * i;
    const int alpha = from[3];
    int values[3];
    for (int c = 0; c < 3; ++c) values[c] = alpha == white ? from[c] : over_white(from[c], alpha);
    if (made.channels == 1) {
      made.data[i] = std::uint8_t((values[0] * 19595 + values[1] * 38470 + values[2] * 7471 + 0x8000) >> 16);
    } else {
      for (int c = 0; c < 3; ++c) made.data[3 * i + c] = std::uint8_t(values[c]);
    }
  }
  return made;
}
