// Decodes JPEG files with libjpeg, as Pillow does: the same pixels.
#pragma once

#include <cstdint>
#include <vector>

#include "image.hpp"

bool is_jpeg(const std::vector<std::uint8_t>& file);

/// The picture as it lies in the file, RGBA. Throws std::runtime_error.
Image decode_jpeg(const std::vector<std::uint8_t>& file);
