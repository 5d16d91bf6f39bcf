// The filters of TensorFlow (tf-nearest, tf-bilinear) and OpenCV (cv2-nearest, cv2-linear, cv2-area).
#pragma once

#include <string>

#include "image.hpp"

/// Resize as TensorFlow or OpenCV does. `fit` is stretch, crop or pad. Throws std::runtime_error for any other filter.
Image sampled(const Image& image, int width, int height, const std::string& filter, const std::string& fit);
