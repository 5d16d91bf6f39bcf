#include "bundle.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <set>
#include <stdexcept>

#include "decode.hpp"

namespace {
const std::set<int> schemas = {4, 5, 6};
constexpr int pixel_most = 3;  // of 255: as `signs verify` allows for other decoders
constexpr double pixel_mean = 1;

std::string sha256(const Bytes& content) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  if (!EVP_Digest(content.data(), content.size(), digest, &length, EVP_sha256(), nullptr)) {
    throw std::runtime_error("OpenSSL cannot compute SHA-256.");
  }
  static const char hex[] = "0123456789abcdef";
  std::string made;
  for (unsigned int i = 0; i < length; ++i) {
    made += hex[digest[i] >> 4];
    made += hex[digest[i] & 15];
  }
  return made;
}

Bytes read_sealed(const std::filesystem::path& folder, const nlohmann::json& record) {
  const std::string path = record.at("path");
  Bytes content = read_file(folder / path);
  if (sha256(content) != record.at("sha256")) throw std::runtime_error(path + " is not the file that was sealed. Copy the bundle again.");
  return content;
}

void append_utf8(std::string& text, std::uint32_t character) {
  if (character < 0x80) {
    text += char(character);
  } else if (character < 0x800) {
    text += {char(0xc0 | character >> 6), char(0x80 | (character & 0x3f))};
  } else if (character < 0x10000) {
    text += {char(0xe0 | character >> 12), char(0x80 | (character >> 6 & 0x3f)), char(0x80 | (character & 0x3f))};
  } else {
    text += {char(0xf0 | character >> 18), char(0x80 | (character >> 12 & 0x3f)), char(0x80 | (character >> 6 & 0x3f)),
             char(0x80 | (character & 0x3f))};
  }
}

/// An array of the .npz file. It points to the file's bytes.
struct Array {
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  std::string type;  // NumPy's name for it

  template <typename T>
  std::vector<T> values() const {
    std::vector<T> made(size / sizeof(T));
    std::memcpy(made.data(), data, made.size() * sizeof(T));
    return made;
  }

  /// Texts of a fixed length: "<U5" has five characters of four bytes each, padded with zeros.
  std::vector<std::string> texts() const {
    const std::size_t length = type.rfind("<U", 0) == 0 ? std::strtoul(type.c_str() + 2, nullptr, 10) : 0;
    std::vector<std::string> made;
    if (length == 0) return made;
    const auto characters = values<std::uint32_t>();
    for (std::size_t i = 0; i + length <= characters.size(); i += length) {
      made.emplace_back();
      for (std::size_t j = i; j < i + length && characters[j] != 0; ++j) append_utf8(made.back(), characters[j]);
    }
    return made;
  }
};

std::uint64_t little_endian(const Bytes& content, std::size_t place, int bytes) {
  if (place + bytes > content.size()) throw std::runtime_error("The golden pictures are cut off. Copy the bundle again.");
  std::uint64_t value = 0;
  for (int i = bytes; i-- > 0;) value = value << 8 | content[place + i];
  return value;
}

/// The arrays of an .npz as numpy.savez writes it: a zip whose members are not compressed.
std::map<std::string, Array> unpacked(const Bytes& content) {
  std::map<std::string, Array> arrays;
  std::size_t place = 0;
  while (little_endian(content, place, 4) == 0x04034b50) {
    const std::size_t name_length = little_endian(content, place + 26, 2);
    const std::size_t extra_length = little_endian(content, place + 28, 2);
    const std::size_t extra = place + 30 + name_length;
    const std::size_t start = extra + extra_length;
    std::uint64_t size = little_endian(content, place + 22, 4);
    if (size == 0xffffffff) size = little_endian(content, extra + 4, 8);  // zip64's extra field
    if (start > content.size() || size > content.size() - start) {
      throw std::runtime_error("The golden pictures are cut off. Copy the bundle again.");
    }
    std::string name(content.begin() + long(place) + 30, content.begin() + long(extra));
    name = name.substr(0, name.rfind(".npy"));
    const bool is_long = little_endian(content, start + 6, 1) > 1;  // the .npy's version
    const std::size_t header = (is_long ? 12 : 10) + little_endian(content, start + 8, is_long ? 4 : 2);
    if (header > size) throw std::runtime_error("The golden pictures are damaged.");
    const std::string about(content.begin() + long(start), content.begin() + long(start + header));
    const std::size_t type = about.find("'descr': '") + 10;
    arrays[name] = {content.data() + start + header, std::size_t(size) - header,
                    about.substr(type, about.find('\'', type) - type)};
    place = start + size;
  }
  return arrays;
}

std::vector<float> optional_floats(const nlohmann::json& manifest, const char* name) {
  return manifest.contains(name) && !manifest[name].is_null() ? manifest[name].get<std::vector<float>>() : std::vector<float>{};
}
}  // namespace

Bytes read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path.string() + " cannot be read.");
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

Input parse_input(const nlohmann::json& input) {
  Input made;
  made.height = input.at("height");
  made.width = input.at("width");
  made.colour = input.value("colour", made.colour);
  made.resize = input.value("resize", made.resize);
  made.fit = input.value("fit", made.fit);
  made.exif = input.value("exif", made.exif);
  return made;
}

Image read_picture(const Bytes& file, const Input& input) { return fitted(decode(file, input.exif != "ignored"), input); }

Classifier::Classifier(const std::filesystem::path& folder, const std::string& variant) : env_(ORT_LOGGING_LEVEL_WARNING) {
  const Bytes text = read_file(folder / "manifest.json");
  const auto manifest = nlohmann::json::parse(text);
  const int schema = manifest.at("schema");
  if (!schemas.count(schema)) {
    throw std::runtime_error("The bundle has schema " + std::to_string(schema) + "; this program reads 4, 5, 6.");
  }
  labels_ = manifest.at("labels").get<std::vector<std::string>>();
  input_ = parse_input(manifest.at("input"));
  thresholds_ = optional_floats(manifest, "thresholds");
  unsure_below_ = manifest.value("unsure_below", 0.0f);
  if (labels_.empty()) throw std::runtime_error("The manifest has no labels.");
  if (!thresholds_.empty() && thresholds_.size() != labels_.size()) {
    throw std::runtime_error("The manifest does not have one threshold for each label.");
  }
  const auto& variants = manifest.at("variants");
  const auto named = [&](const std::string& name) {
    return std::find_if(variants.begin(), variants.end(), [&](const auto& each) { return each.at("name") == name; });
  };
  auto chosen = named(variant.empty() ? "int8" : variant);
  if (chosen == variants.end() && variant.empty()) chosen = variants.begin();
  if (chosen == variants.end()) {
    std::string names;
    for (const auto& each : variants) names += (names.empty() ? "" : ", ") + each.at("name").get<std::string>();
    throw std::runtime_error("The bundle has no variant " + variant + "; it has " + names + ".");
  }
  variant_ = chosen->at("name");
  tolerance_ = chosen->at("tolerance");
  golden_ = read_sealed(folder, manifest.at("golden").at("file"));
  const Bytes model = read_sealed(folder, chosen->at("file"));
  session_ = Ort::Session(env_, model.data(), model.size(), Ort::SessionOptions());
}

std::vector<float> Classifier::probabilities(const std::uint8_t* pixels, std::size_t count) {
  const std::int64_t shape[] = {std::int64_t(count), input_.height, input_.width, input_.channels()};
  const std::size_t size = count * input_.height * input_.width * input_.channels();
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  auto* data = const_cast<std::uint8_t*>(pixels);  // onnxruntime only reads it
  const auto image = Ort::Value::CreateTensor<std::uint8_t>(memory, data, size, shape, 4);
  const char* inputs[] = {"image"};
  const char* outputs[] = {"probabilities"};
  const auto answers = session_.Run(Ort::RunOptions(), inputs, &image, 1, outputs, 1);
  const auto given = answers[0].GetTensorTypeAndShapeInfo();
  if (given.GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT || given.GetElementCount() != count * labels_.size()) {
    throw std::runtime_error("The model's outputs do not match the labels in the manifest.");
  }
  const float* values = answers[0].GetTensorData<float>();
  if (!std::all_of(values, values + count * labels_.size(), [](float value) { return std::isfinite(value); })) {
    throw std::runtime_error("The model's answer has NaN or infinite numbers.");
  }
  return std::vector<float>(values, values + count * labels_.size());
}

std::vector<std::uint8_t> Classifier::decided(const float* probabilities) const {
  std::vector<std::uint8_t> made(labels_.size(), 0);
  if (thresholds_.empty()) {
    made[std::max_element(probabilities, probabilities + made.size()) - probabilities] = 1;
  } else {
    for (std::size_t i = 0; i < made.size(); ++i) made[i] = probabilities[i] >= thresholds_[i];
  }
  return made;
}

std::vector<std::string> Classifier::told(const float* probabilities) const {
  std::vector<std::string> made;
  const auto found = decided(probabilities);
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i] && (!thresholds_.empty() || probabilities[i] >= unsure_below_)) made.push_back(labels_[i]);
  }
  return made;
}

Proof Classifier::verify() {
  const auto arrays = unpacked(golden_);
  const auto labels = arrays.at("labels").texts();
  if (labels.size() != labels_.size()) throw std::runtime_error("The golden pictures and the manifest have different labels.");
  const Array images = arrays.at("images");
  const auto wanted = arrays.at("probabilities").values<float>();
  const std::size_t count = wanted.size() / labels_.size();
  const std::size_t size = std::size_t(input_.height) * input_.width * input_.channels();
  if (count == 0 || images.size != count * size) throw std::runtime_error("The golden pictures are damaged.");
  Proof proof;
  proof.tolerance = tolerance_;
  proof.pictures = int(count);
  proof.same_order = labels == labels_;
  for (std::size_t i = 0; i < count; ++i) {
    const auto given = probabilities(images.data + i * size, 1);
    const float* keras = &wanted[i * labels_.size()];
    proof.same_label += decided(given.data()) == decided(keras);
    for (std::size_t j = 0; j < labels_.size(); ++j) {
      const double off = std::abs(double(given[j]) - keras[j]);
      proof.largest = std::max(proof.largest, std::isfinite(off) ? off : std::numeric_limits<double>::infinity());
    }
  }
  const Array files = arrays.at("files");
  const auto sizes = arrays.at("file_sizes").values<std::int64_t>();
  const Array seen = arrays.at("file_images");
  proof.files = int(sizes.size());
  std::size_t start = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const std::size_t length = std::size_t(sizes[i]);
    if (length > files.size - start || seen.size < (i + 1) * size) throw std::runtime_error("The golden pictures are damaged.");
    const Image given = read_picture(Bytes(files.data + start, files.data + start + length), input_);
    start += length;
    double total = 0;
    for (std::size_t j = 0; j < size; ++j) {
      const int off = std::abs(int(given.data[j]) - int(seen.data[i * size + j]));
      proof.pixels = std::max(proof.pixels, off);
      total += off;
    }
    proof.mean = std::max(proof.mean, total / double(size));
  }
  proof.passed = proof.same_order && proof.same_label == proof.pictures && proof.largest <= proof.tolerance && proof.pixels <= pixel_most &&
                 proof.mean <= pixel_mean;
  return proof;
}
