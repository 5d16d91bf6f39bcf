#include "sampling.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace {
constexpr int fixed_one = 2048;
constexpr double sliver = 1e-3;

/// A range of columns or rows; it may begin before the picture and end after it.
struct Span {
  int start;
  int length;
};

/// For each new position: the two old positions around it, and its share of the way from the first to the second.
struct Steps {
  std::vector<int> first;
  std::vector<int> second;
  std::vector<float> share;  // empty: only the first counts
};

/// For each new position: the old positions that it covers, each with its share.
using Shares = std::vector<std::vector<std::pair<int, float>>>;

std::pair<Span, Span> spans(const Image& image, int across, int down, const std::string& fit) {
  const int width = image.width;
  const int height = image.height;
  if (fit == "stretch") return {{0, width}, {0, height}};
  const int own_height = int(float(width * down) / float(across));
  const int own_width = int(float(height * across) / float(down));
  if (fit == "crop") {
    const int wide = std::max(1, std::min(width, own_width));
    const int high = std::max(1, std::min(height, own_height));
    return {{(width - wide) / 2, wide}, {(height - high) / 2, high}};
  }
  const int left = (std::max(width, own_width) - width) / 2;
  const int top = (std::max(height, own_height) - height) / 2;
  return {{-left, width + 2 * left}, {-top, height + 2 * top}};
}

Steps between(const std::vector<int>& below, std::vector<float> share, int old) {
  Steps made;
  for (const int place : below) {
    made.first.push_back(std::clamp(place, 0, old - 1));
    made.second.push_back(std::clamp(place + 1, 0, old - 1));
  }
  made.share = std::move(share);
  return made;
}

Steps steps(const std::string& filter, int old, int count) {
  Steps made;
  std::vector<int> below;
  std::vector<float> share;
  const float scale = float(old) / float(count);
  const double step = 1 / (double(count) / old);
  for (int i = 0; i < count; ++i) {
    if (filter == "tf-nearest") {
      made.first.push_back(std::min(int(std::floor((float(i) + 0.5f) * scale)), old - 1));
    } else if (filter == "cv2-nearest") {
      made.first.push_back(std::min(int(std::floor(i * step)), old - 1));
    } else if (filter == "tf-bilinear") {
      const float scaled = (float(i) + 0.5f) * scale;
      const float place = scaled - 0.5f;
      made.first.push_back(std::max(int(std::floor(place)), 0));
      made.second.push_back(std::min(int(std::ceil(place)), old - 1));
      made.share.push_back(place - std::floor(place));
    } else if (filter == "cv2-linear") {
      const float place = float((i + 0.5) * step - 0.5);
      below.push_back(int(std::floor(place)));
      share.push_back(place - std::floor(place));
    } else if (filter == "cv2-area") {
      below.push_back(int(std::floor(i * step)));
      const float own = float(i + 1 - (below.back() + 1) * (double(count) / old));
      share.push_back(own <= 0 ? 0 : own - std::floor(own));
    } else {
      throw std::runtime_error("This program does not have the resize filter " + filter + ".");
    }
  }
  if (!below.empty()) return between(below, share, old);
  if (made.second.empty()) made.second = made.first;
  return made;
}

using Mix = std::uint8_t (*)(const int corners[4], float across, float down);

std::uint8_t mixed_in_float(const int corners[4], float across, float down) {
  const float upper = float(corners[0]) + float(corners[1] - corners[0]) * across;
  const float lower = float(corners[2]) + float(corners[3] - corners[2]) * across;
  return std::uint8_t(round_half_even(upper + (lower - upper) * down));
}

std::uint8_t mixed_in_integers(const int corners[4], float across, float down) {
  const auto fixed = [](float share) {
    return std::pair<int, int>(int(round_half_even((1 - share) * fixed_one)), int(round_half_even(share * fixed_one)));
  };
  const auto [first, second] = fixed(across);
  const int upper = (corners[0] * first + corners[1] * second) >> 4;
  const int lower = (corners[2] * first + corners[3] * second) >> 4;
  const auto [above, below] = fixed(down);
  return std::uint8_t((((upper * above) >> 16) + ((lower * below) >> 16) + 2) >> 2);
}

Shares whole_shares(int old, int count) {
  const int times = old / count;
  Shares made(count);
  for (int i = 0; i < count; ++i) {
    for (int step = 0; step < times; ++step) made[i].emplace_back(i * times + step, 1.0f);
  }
  return made;
}

Shares covered_shares(int old, int count) {
  const double scale = 1 / (double(count) / old);
  Shares made(count);
  for (int i = 0; i < count; ++i) {
    const double begin = i * scale;
    const double end = (i + 1) * scale;
    const double covered = std::min(scale, old - begin);
    const int last = std::min(int(std::floor(end)), old - 1);
    const int first = std::min(int(std::ceil(begin)), last);
    if (first - begin > sliver) made[i].emplace_back(std::max(first - 1, 0), float((first - begin) / covered));
    for (int place = first; place < last; ++place) made[i].emplace_back(place, float(1 / covered));
    if (end - last > sliver) made[i].emplace_back(last, float(std::min({end - last, 1.0, covered}) / covered));
  }
  return made;
}

/// Turn a span's positions into the picture's. Positions outside the picture are black and add nothing.
Shares within(const Shares& shares, int start, int length) {
  Shares made(shares.size());
  for (std::size_t i = 0; i < shares.size(); ++i) {
    for (const auto& [place, share] : shares[i]) {
      if (place + start >= 0 && place + start < length) made[i].emplace_back(place + start, share);
    }
  }
  return made;
}

/// OpenCV's INTER_AREA: the mean of the old pixels that a new pixel covers. Sums of whole pixels stay below 2^24, so
/// floats hold them exactly.
Image averaged(const Image& image, int width, int height, Span across, Span down) {
  const bool whole = across.length % width == 0 && down.length % height == 0;
  const auto shares = whole ? whole_shares : covered_shares;
  const Shares columns = within(shares(across.length, width), across.start, image.width);
  const Shares rows = within(shares(down.length, height), down.start, image.height);
  const int wide = across.length / width;
  const int high = down.length / height;
  const int line = width * image.channels;
  std::vector<double> lines(std::size_t(image.height) * line);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < image.channels; ++c) {
        double total = 0;
        for (const auto& [place, share] : columns[x]) {
          const double part = double(image.at(place, y)[c]) * share;
          total = whole ? total + part : double(float(total + double(float(part))));
        }
        lines[std::size_t(y) * line + x * image.channels + c] = total;
      }
    }
  }
  Image made(width, height, image.channels);
  for (int y = 0; y < height; ++y) {
    for (int i = 0; i < line; ++i) {
      double total = 0;
      for (const auto& [place, share] : rows[y]) {
        const double part = lines[std::size_t(place) * line + i] * share;
        total = whole ? total + part : double(float(total + double(float(part))));
      }
      double mean = round_half_even(total);
      if (whole && wide == 2 && high == 2) {
        mean = double((std::int64_t(total) + 2) >> 2);
      } else if (whole) {
        mean = round_half_even(float(total) * (1.0f / float(wide * high)));
      }
      made.at(0, y)[i] = std::uint8_t(mean);
    }
  }
  return made;
}

std::vector<int> from(const std::vector<int>& places, int start) {
  std::vector<int> made;
  for (const int place : places) made.push_back(place + start);
  return made;
}
}  // namespace

Image sampled(const Image& image, int width, int height, const std::string& filter, const std::string& fit) {
  const auto [across, down] = spans(image, width, height, fit);
  if (filter == "cv2-area" && across.length >= width && down.length >= height) {
    return averaged(image, width, height, across, down);
  }
  const Steps columns = steps(filter, across.length, width);
  const Steps rows = steps(filter, down.length, height);
  const auto corner = [&](const std::vector<int>& x, const std::vector<int>& y) {
    return picked(image, from(x, across.start), from(y, down.start));
  };
  if (columns.share.empty()) return corner(columns.first, rows.first);
  const Image corners[] = {corner(columns.first, rows.first), corner(columns.second, rows.first),
                           corner(columns.first, rows.second), corner(columns.second, rows.second)};
  const Mix mix = filter == "tf-bilinear" ? mixed_in_float : mixed_in_integers;
  Image made(width, height, image.channels);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const float share = columns.first[x] == columns.second[x] ? 0 : columns.share[x];
      for (int c = 0; c < image.channels; ++c) {
        const int values[] = {corners[0].at(x, y)[c], corners[1].at(x, y)[c], corners[2].at(x, y)[c], corners[3].at(x, y)[c]};
        made.at(x, y)[c] = mix(values, share, rows.share[y]);
      }
    }
  }
  return made;
}
