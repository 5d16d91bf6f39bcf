#include "fit.hpp"

#include <utility>

#include "pillow.hpp"
#include "sampling.hpp"

Image fitted(const Image& rgba, const Input& input) {
  Image image = with_colour(rgba, input.colour);
  if (image.width != input.width || image.height != input.height) {
    const auto resize = is_pillow(input.resize) ? by_pillow : sampled;
    image = resize(image, input.width, input.height, input.resize, input.fit);
  }
  if (input.colour == "BGR") {
    for (std::size_t i = 0; i < image.data.size(); i += 3) std::swap(image.data[i], image.data[i + 2]);
  }
  return image;
}
