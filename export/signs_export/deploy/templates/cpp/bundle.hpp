// A bundle: its manifest, its golden pictures, and a loaded variant.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fit.hpp"

using Bytes = std::vector<std::uint8_t>;

/// Read a file's bytes. Throws std::runtime_error.
Bytes read_file(const std::filesystem::path& path);

/// Parse the manifest's `input`. Missing fields get the bundle format's defaults.
Input parse_input(const nlohmann::json& input);

/// Turn a picture file's bytes into the model's image.
Image read_picture(const Bytes& file, const Input& input);

/// The result of the golden pictures on this device.
struct Proof {
  int pictures = 0;
  int same_label = 0;
  bool same_order = false;  // of the labels
  double largest = 0;    // largest difference from Keras's probabilities
  double tolerance = 0;  // that the bundle allows
  int files = 0;
  int pixels = 0;   // the largest difference from what training saw, of 255
  double mean = 0;  // the largest mean difference of a picture
  bool passed = false;
};

class Classifier {
 public:
  /// Opens the variant of this name; "" opens int8 if there is one, else the first. Throws std::runtime_error if a file is
  /// not the one that was sealed, and Ort::Exception.
  explicit Classifier(const std::filesystem::path& folder, const std::string& variant = "");

  const std::vector<std::string>& labels() const { return labels_; }
  const Input& input() const { return input_; }
  const std::string& variant() const { return variant_; }

  /// Whether each label is decided on its own.
  bool finds_several() const { return !thresholds_.empty(); }

  /// The probabilities (count, labels) of pixels: `count` whole images, one after the other.
  std::vector<float> probabilities(const std::uint8_t* pixels, std::size_t count);

  /// The labels that these probabilities mean: one, several, or none if the model is unsure.
  std::vector<std::string> told(const float* probabilities) const;

  /// Checks on the golden pictures that this device reads files as training did, and answers as Keras did.
  Proof verify();

 private:
  std::vector<std::uint8_t> decided(const float* probabilities) const;

  std::vector<std::string> labels_;
  std::vector<float> thresholds_;  // of a multi-label classifier
  float unsure_below_ = 0;
  Input input_;
  std::string variant_;
  double tolerance_ = 0;
  Bytes golden_;
  Ort::Env env_;
  Ort::Session session_{nullptr};
};
