#include "pillow.hpp"

#include <algorithm>
#include <cmath>
#include <map>

namespace {
constexpr int bits = 22;
constexpr double pi = 3.14159265358979323846;

struct Filter {
  double support;
  double (*weight)(double);
};

double sinc(double x) { return x == 0 ? 1 : std::sin(x * pi) / (x * pi); }

double box(double x) { return x > -0.5 && x <= 0.5 ? 1 : 0; }

double bilinear(double x) { return std::max(0.0, 1 - std::abs(x)); }

double hamming(double x) {
  const double away = std::abs(x) * pi;
  if (away == 0) return 1;
  return std::abs(x) >= 1 ? 0 : std::sin(away) / away * (0.54 + 0.46 * std::cos(away));
}

double bicubic(double x) {
  constexpr double a = -0.5;
  const double away = std::abs(x);
  if (away < 1) return ((a + 2) * away - (a + 3)) * away * away + 1;
  return away < 2 ? (((away - 5) * away + 8) * away - 4) * a : 0;
}

double lanczos(double x) { return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0; }

const std::map<std::string, Filter> filters = {
    {"box", {0.5, box}}, {"bilinear", {1, bilinear}}, {"hamming", {1, hamming}}, {"bicubic", {2, bicubic}}, {"lanczos", {3, lanczos}},
};

struct Size {
  int width;
  int height;
};

struct Box {
  float left;
  float top;
  float right;
  float bottom;
};

Box centre(const Image& image, Size target) {
  const double width = image.width;
  const double height = image.height;
  const double ratio = width / height;
  const double wanted = double(target.width) / target.height;
  double across = width;
  double down = height;
  if (ratio > wanted) across = wanted * height;
  if (ratio < wanted) down = width / wanted;
  const double left = (width - across) * 0.5;
  const double top = (height - down) * 0.5;
  return {float(left), float(top), float(left + across), float(top + down)};
}

Size contained(const Image& image, Size target) {
  const double width = image.width;
  const double height = image.height;
  const double ratio = width / height;
  const double wanted = double(target.width) / target.height;
  if (ratio > wanted) return {target.width, int(round_half_even(height / width * target.width))};
  if (ratio < wanted) return {int(round_half_even(width / height * target.height)), target.height};
  return target;
}

std::vector<int> nearest_places(int count, float from, float to) {
  const double step = double(to - from) / count;
  std::vector<int> found(count);
  double place = from + step * 0.5;
  for (int i = 0; i < count; ++i, place += step) found[i] = int(place);
  return found;
}

/// For a new position: the first old position, and the weights from there on, in fixed point.
struct Weights {
  int first;
  std::vector<std::int64_t> shares;
};

std::vector<Weights> weights(int old, float from, float to, int count, const Filter& filter) {
  const double scale = double(to - from) / count;
  const double wide = std::max(scale, 1.0);
  const double reach = filter.support * wide;
  std::vector<Weights> found;
  for (int i = 0; i < count; ++i) {
    const double middle = from + (i + 0.5) * scale;
    const int first = std::max(0, int(middle - reach + 0.5));
    const int end = std::min(old, int(middle + reach + 0.5));
    std::vector<double> own;
    double total = 0;
    for (int x = first; x < end; ++x) {
      own.push_back(filter.weight((x - middle + 0.5) * (1 / wide)));
      total += own.back();
    }
    std::vector<std::int64_t> fixed;
    for (const double each : own) {
      const double share = total == 0 ? each : each / total;
      fixed.push_back(std::int64_t(share * (1 << bits) + (share < 0 ? -0.5 : 0.5)));
    }
    found.push_back({first, fixed});
  }
  return found;
}

std::uint8_t rounded(std::int64_t sum) { return std::uint8_t(std::clamp<std::int64_t>(sum >> bits, 0, 255)); }

Image across(const Image& image, const std::vector<Weights>& columns) {
  Image made(int(columns.size()), image.height, image.channels);
  for (int y = 0; y < made.height; ++y) {
    for (int x = 0; x < made.width; ++x) {
      for (int c = 0; c < made.channels; ++c) {
        std::int64_t sum = 1 << (bits - 1);
        for (std::size_t i = 0; i < columns[x].shares.size(); ++i) {
          sum += image.at(columns[x].first + int(i), y)[c] * columns[x].shares[i];
        }
        made.at(x, y)[c] = rounded(sum);
      }
    }
  }
  return made;
}

Image down(const Image& image, const std::vector<Weights>& rows) {
  Image made(image.width, int(rows.size()), image.channels);
  for (int y = 0; y < made.height; ++y) {
    for (int i = 0; i < made.width * made.channels; ++i) {
      std::int64_t sum = 1 << (bits - 1);
      for (std::size_t j = 0; j < rows[y].shares.size(); ++j) {
        sum += image.at(0, rows[y].first + int(j))[i] * rows[y].shares[j];
      }
      made.at(0, y)[i] = rounded(sum);
    }
  }
  return made;
}

Image resample(const Image& image, Size size, Box from, const Filter& filter) {
  const auto resized_across = [&](const Image& given) {
    if (size.width == image.width && from.left == 0 && from.right == float(size.width)) return given;
    return across(given, weights(image.width, from.left, from.right, size.width, filter));
  };
  const auto resized_down = [&](const Image& given) {
    if (size.height == image.height && from.top == 0 && from.bottom == float(size.height)) return given;
    return down(given, weights(image.height, from.top, from.bottom, size.height, filter));
  };
  // Pillow 13 and newer resize vertically first if that drops far more rows than columns.
  if (image.height > size.height && image.height - size.height > 2 * (image.width - size.width)) {
    return resized_across(resized_down(image));
  }
  return resized_down(resized_across(image));
}
}  // namespace

bool is_pillow(const std::string& filter) { return filter == "nearest" || filters.count(filter); }

Image by_pillow(const Image& image, int width, int height, const std::string& filter, const std::string& fit) {
  const Size target{width, height};
  const Box whole{0, 0, float(image.width), float(image.height)};
  const Box from = fit == "crop" ? centre(image, target) : whole;
  const Size size = fit == "pad" ? contained(image, target) : target;
  Image made(width, height, image.channels);
  if (std::min(size.width, size.height) == 0) return made;
  const Image stretched =
      filter == "nearest"
          ? picked(image, nearest_places(size.width, from.left, from.right), nearest_places(size.height, from.top, from.bottom))
          : resample(image, size, from, filters.at(filter));
  if (size.width == width && size.height == height) return stretched;
  const int left = int(round_half_even((width - size.width) * 0.5));
  const int top = int(round_half_even((height - size.height) * 0.5));
  for (int y = 0; y < size.height; ++y) {
    std::copy_n(stretched.at(0, y), std::size_t(size.width) * image.channels, made.at(left, y + top));
  }
  return made;
}
