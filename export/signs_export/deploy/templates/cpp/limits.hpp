// How large a picture may be: as the Python runtime reads.
#pragma once

#include <string>

constexpr long long most_pixels = 89478485;
constexpr long long longest_side = 65535;

inline bool is_allowed(long long width, long long height) {
  return width <= longest_side && height <= longest_side && width * height <= most_pixels;
}

inline std::string too_many_pixels() { return "has more than the " + std::to_string(most_pixels) + " pixels allowed"; }
