#include "jpeg.hpp"

#include <csetjmp>
#include <cstdio>
#include <stdexcept>
#include <string>

#include <jpeglib.h>

#include <jerror.h>

#include "limits.hpp"

namespace {
struct Errors {
  jpeg_error_mgr manager;  // must be first: libjpeg passes its address
  std::jmp_buf back;
  char message[JMSG_LENGTH_MAX] = "";
  bool truncated = false;
};

Errors& errors_of(j_common_ptr jpeg) { return *reinterpret_cast<Errors*>(jpeg->err); }

void give_up(j_common_ptr jpeg) {
  jpeg->err->format_message(jpeg, errors_of(jpeg).message);
  std::longjmp(errors_of(jpeg).back, 1);
}

void hear(j_common_ptr jpeg, int level) {
  if (level < 0 && jpeg->err->msg_code == JWRN_JPEG_EOF) errors_of(jpeg).truncated = true;
}

int channels_of(const jpeg_decompress_struct& jpeg) { return jpeg.out_color_space == JCS_CMYK ? 4 : jpeg.num_components == 1 ? 1 : 3; }

/// Read all pixels, as libjpeg decodes them. No C++ object may be created between setjmp and a failure.
bool read(const std::vector<std::uint8_t>& file, jpeg_decompress_struct& jpeg, Errors& errors, Image& pixels) {
  jpeg.err = jpeg_std_error(&errors.manager);
  errors.manager.error_exit = give_up;
  errors.manager.emit_message = hear;
  if (setjmp(errors.back)) return false;
  jpeg_create_decompress(&jpeg);
  jpeg_mem_src(&jpeg, file.data(), static_cast<unsigned long>(file.size()));
  jpeg_read_header(&jpeg, TRUE);
  if (jpeg.num_components == 4) {
    jpeg.out_color_space = JCS_CMYK;
  } else {
    jpeg.out_color_space = jpeg.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  }
  if (!is_allowed(jpeg.image_width, jpeg.image_height)) return false;
  jpeg_start_decompress(&jpeg);
  pixels = Image(int(jpeg.output_width), int(jpeg.output_height), channels_of(jpeg));
  while (jpeg.output_scanline < jpeg.output_height) {
    JSAMPROW row = pixels.at(0, int(jpeg.output_scanline));
    jpeg_read_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_decompress(&jpeg);
  return true;
}
}  // namespace

bool is_jpeg(const std::vector<std::uint8_t>& file) { return file.size() > 2 && file[0] == 0xff && file[1] == 0xd8; }

Image decode_jpeg(const std::vector<std::uint8_t>& file) {
  jpeg_decompress_struct jpeg{};
  Errors errors;
  Image pixels;
  const bool whole = read(file, jpeg, errors, pixels) && !errors.truncated;
  const bool too_large = jpeg.image_width && !is_allowed(jpeg.image_width, jpeg.image_height);
  jpeg_destroy_decompress(&jpeg);
  if (too_large) throw std::runtime_error(too_many_pixels());
  if (errors.truncated) throw std::runtime_error("this picture is cut off: the file ends too early");
  if (!whole) throw std::runtime_error(std::string("this file cannot be read as a picture: ") + errors.message);
  Image image(pixels.width, pixels.height, 4);
  for (std::size_t i = 0; i < image.data.size(); i += 4) {
    const std::uint8_t* from = pixels.data.data() + i / 4 * pixels.channels;
    for (int c = 0; c < 3; ++c) {
      // CMYK is stored inverted: the share of the light that each ink lets through.
      image.data[i + c] = pixels.channels == 4 ? std::uint8_t((from[c] * from[3] + 127) / 255) : from[pixels.channels == 1 ? 0 : c];
    }
    image.data[i + 3] = 255;
  }
  return image;
}
