// An image: rows from the top, `channels` bytes a pixel.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

struct Image {
  int width = 0;
  int height = 0;
  int channels = 0;
  std::vector<std::uint8_t> data;

  Image() = default;
  Image(int width, int height, int channels)
      : width(width), height(height), channels(channels), data(std::size_t(width) * height * channels) {}

  std::uint8_t* at(int x, int y) { return data.data() + (std::size_t(y) * width + x) * channels; }
  const std::uint8_t* at(int x, int y) const { return data.data() + (std::size_t(y) * width + x) * channels; }
};

/// Round as Python does: halves to the even number.
double round_half_even(double value);

/// The pixels at these columns and rows; black if they lie outside the image.
Image picked(const Image& image, const std::vector<int>& columns, const std::vector<int>& rows);

/// Convert RGBA to RGB, or to grey if `colour` is "L", as Pillow does. Transparent pixels become white.
Image with_colour(const Image& rgba, const std::string& colour);
