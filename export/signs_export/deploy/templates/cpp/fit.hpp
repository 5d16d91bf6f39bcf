// Turns decoded pixels into the model's image, as the Python runtime does: colour, then size, then channel order.
#pragma once

#include <string>

#include "image.hpp"

/// The manifest's `input`.
struct Input {
  int height = 0;
  int width = 0;
  std::string colour = "RGB";
  std::string resize = "bilinear";
  std::string fit = "stretch";
  std::string exif = "turned";

  int channels() const { return colour == "L" ? 1 : 3; }
};

Image fitted(const Image& rgba, const Input& input);
