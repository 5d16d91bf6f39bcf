// Labels picture files with a bundle, or proves the bundle on this machine.

#include <openssl/evp.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "bundle.hpp"

namespace {
constexpr char usage[] =
    "classify [--bundle FOLDER] [--variant NAME] PICTURE...   label pictures\n"
    "classify [--bundle FOLDER] [--variant NAME] --verify    prove the bundle on this machine\n"
    "classify --vectors FILE                                 check the bundle format's test vectors\n";

bool label(Classifier& classifier, const std::vector<std::string>& files) {
  bool passed = true;
  for (const auto& file : files) {
    try {
      const Image image = read_picture(read_file(file), classifier.input());
      const auto probabilities = classifier.probabilities(image.data.data(), 1);
      std::string labels;
      for (const auto& each : classifier.told(probabilities.data())) labels += (labels.empty() ? "" : ", ") + each;
      if (labels.empty()) labels = classifier.finds_several() ? "none" : "unsure";
      std::cout << file << '\t' << labels;
      for (std::size_t i = 0; i < probabilities.size(); ++i) {
        char share[32];
        std::snprintf(share, sizeof share, "%.4f", double(probabilities[i]));
        std::cout << '\t' << classifier.labels()[i] << ' ' << share;
      }
      std::cout << std::endl;
    } catch (const std::exception& error) {
      std::cerr << file << ": " << error.what() << std::endl;
      passed = false;
    }
  }
  return passed;
}

bool verify(Classifier& classifier) {
  const Proof proof = classifier.verify();
  const nlohmann::json told = {
      {"variant", classifier.variant()}, {"passed", proof.passed},       {"pictures", proof.pictures},
      {"sameLabel", proof.same_label},   {"largest", proof.largest},     {"tolerance", proof.tolerance},
      {"files", proof.files},            {"pixels", proof.pixels},       {"sameOrder", proof.same_order},
  };
  std::cout << told.dump() << std::endl;
  return proof.passed;
}

Bytes from_base64(const std::string& text) {
  Bytes made(text.size() / 4 * 3);
  const auto* characters = reinterpret_cast<const unsigned char*>(text.data());
  if (EVP_DecodeBlock(made.data(), characters, int(text.size())) < 0) throw std::runtime_error("The test vectors are damaged: invalid base64.");
  made.resize(made.size() - std::size_t(std::count(text.begin(), text.end(), '=')));
  return made;
}

/// Check each case of the test vectors: pixels must be equal, or within `most` levels for compressed pictures.
bool read_vectors(const std::string& file) {
  const auto vectors = nlohmann::json::parse(read_file(file));
  int right = 0;
  for (const auto& each : vectors.at("cases")) {
    const std::string picture = each.at("picture");
    const Image given = read_picture(from_base64(vectors.at("pictures").at(picture)), parse_input(each.at("input")));
    const Bytes wanted = from_base64(each.at("pixels"));
    int off = given.data.size() == wanted.size() ? 0 : 255;
    for (std::size_t i = 0; off < 255 && i < wanted.size(); ++i) {
      off = std::max(off, std::abs(int(given.data[i]) - int(wanted[i])));
    }
    if (off <= each.at("most").get<int>()) {
      ++right;
    } else {
      std::cerr << picture << ' ' << each.at("input").dump() << ": off by " << off << std::endl;
    }
  }
  std::cout << right << " of " << vectors.at("cases").size() << std::endl;
  return right == int(vectors.at("cases").size());
}

int run(const std::vector<std::string>& arguments) {
  std::string bundle = "bundle";
  std::string variant;
  std::vector<std::string> files;
  bool proves = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const auto& each = arguments[i];
    const bool has_value = i + 1 < arguments.size();
    if (each == "--verify") {
      proves = true;
    } else if (each == "--help" || each == "-h") {
      std::cout << usage;
      return 0;
    } else if (each == "--bundle" && has_value) {
      bundle = arguments[++i];
    } else if (each == "--variant" && has_value) {
      variant = arguments[++i];
    } else if (each == "--vectors" && has_value) {
      return read_vectors(arguments[++i]) ? 0 : 1;
    } else if (each.rfind("--", 0) == 0) {
      std::cerr << "classify: " << each << " is an unknown option, or its value is missing.\n" << usage;
      return 2;
    } else {
      files.push_back(each);
    }
  }
  if (!proves && files.empty()) {
    std::cerr << usage;
    return 2;
  }
  Classifier classifier(bundle, variant);
  return (proves ? verify(classifier) : label(classifier, files)) ? 0 : 1;
}
}  // namespace

int main(int count, char** arguments) {
  try {
    return run(std::vector<std::string>(arguments + 1, arguments + count));
  } catch (const std::exception& error) {
    std::cerr << "classify: " << error.what() << std::endl;
    return 2;
  }
}
