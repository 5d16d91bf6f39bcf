// Decodes picture files: JPEG with libjpeg, others with stb_image.
#pragma once

#include <cstdint>
#include <vector>

#include "image.hpp"

/// The first frame of a JPEG, PNG, BMP or GIF file as RGBA; `turned` applies its EXIF orientation.
/// Throws std::runtime_error.
Image decode(const std::vector<std::uint8_t>& file, bool turned);
