// Pillow's Image.resize, bit for bit: weights in fixed point, each direction rounded to 8 bits.
#pragma once

#include <string>

#include "image.hpp"

/// Whether `filter` is one of Pillow's: nearest, box, bilinear, hamming, bicubic, lanczos.
bool is_pillow(const std::string& filter);

/// Resize as Pillow does. `fit` is stretch, crop or pad.
Image by_pillow(const Image& image, int width, int height, const std::string& filter, const std::string& fit);
