// The filters of TensorFlow (tf-nearest, tf-bilinear) and OpenCV (cv2-nearest, cv2-linear, cv2-area).
#pragma once

#include <string>

#include "image.hpp"

/// `fit` is stretch, crop or pad. Throws std::runtime_error for a filter that is none of these.
Image sampled(const Image& image, int width, int height, const std::string& filter, const std::string& fit);
