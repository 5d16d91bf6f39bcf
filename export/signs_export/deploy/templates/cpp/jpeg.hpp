// Decodes JPEG files with libjpeg, to the same pixels as Pillow.
#pragma once

#include <cstdint>
#include <vector>

#include "image.hpp"

bool is_jpeg(const std::vector<std::uint8_t>& file);

/// The picture as RGBA, without its EXIF orientation. Throws std::runtime_error.
Image decode_jpeg(const std::vector<std::uint8_t>& file);
