// Decodes picture files: JPEG with libjpeg, others with stb_image.
#pragma once

#include <cstdint>
#include <vector>

#include "image.hpp"

/// A JPEG, PNG, BMP or GIF file's first frame as RGBA; turned as its camera was held. Throws std::runtime_error.
Image decode(const std::vector<std::uint8_t>& file, bool turned);
