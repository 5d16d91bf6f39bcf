// The largest pictures that are read, as in the Python runtime.
#pragma once

#include <string>

constexpr long long most_pixels = 89478485;
constexpr long long longest_side = 65535;

inline bool is_allowed(long long width, long long height) {
  return width <= longest_side && height <= longest_side && width * height <= most_pixels;
}

inline std::string too_many_pixels() {
  return "this picture is too large: at most " + std::to_string(most_pixels) + " pixels and " + std::to_string(longest_side) +
         " a side are allowed";
}
