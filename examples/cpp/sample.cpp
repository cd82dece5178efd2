// Draws a grid of samples with onnxruntime's C++ API: the same images as in Python for the same seed.
//
//     sample generator.onnx grid.ppm [n] [seed] [class]

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "philox.hpp"

using nlohmann::json;
using Shape = std::vector<std::int64_t>;

// The document that ganzoo keeps in the file: what goes in, what comes out.
json read_signature(const Ort::Session& session) {
  Ort::AllocatorWithDefaultOptions allocator;
  const auto text = session.GetModelMetadata().LookupCustomMetadataMapAllocated("ganzoo", allocator);
  if (!text) throw std::runtime_error("the model was not exported by ganzoo");
  const json document = json::parse(text.get());
  if (document.at("schema") > 1) throw std::runtime_error("the model is of a newer schema than this program reads");
  return document.at("signature");
}

std::int64_t count(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

// The inputs of n samples, in the model's order; they point into the two buffers.
std::vector<Ort::Value> draw(const json& inputs, std::int64_t n, std::uint64_t seed, std::int64_t label,
                             std::vector<std::vector<float>>& latents, std::vector<std::vector<std::int64_t>>& labels) {
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  std::vector<Ort::Value> values;
  std::size_t streams = 0;
  std::int64_t combinations = 1;  // labels that are not given take all their combinations in turn
  for (const json& field : inputs) {
    Shape shape{n};
    for (const json& size : field.at("shape")) shape.push_back(size);
    if (field.at("kind") == "latent") {
      Philox random(seed, streams++);  // a further latent has a stream of its own
      auto& numbers = latents.emplace_back(count(shape));
      const bool normal = field.at("distribution") == "normal";
      for (float& number : numbers) number = normal ? random.normal() : random.uniform() * 2 - 1;
      values.push_back(Ort::Value::CreateTensor(memory, numbers.data(), numbers.size(), shape.data(), shape.size()));
    } else if (field.at("kind") == "truncation" || field.at("kind") == "styles") {
      // Of a style-based model: a share of 1 of the styles that it maps, and nothing of others.
      auto& numbers = latents.emplace_back(count(shape), field.at("kind") == "truncation" ? 1.0f : 0.0f);
      values.push_back(Ort::Value::CreateTensor(memory, numbers.data(), numbers.size(), shape.data(), shape.size()));
    } else if (field.at("kind") == "label") {
      const std::int64_t classes = field.at("classes");
      if (label >= classes) throw std::runtime_error("the model has the classes 0 .. " + std::to_string(classes - 1));
      auto& numbers = labels.emplace_back(n);
      for (std::int64_t i = 0; i < n; ++i) numbers[i] = label < 0 ? i / combinations % classes : label;
      combinations *= classes;
      values.push_back(Ort::Value::CreateTensor(memory, numbers.data(), numbers.size(), shape.data(), shape.size()));
    } else {
      throw std::runtime_error("this example draws from latents and labels alone");
    }
  }
  return values;
}

// Write images [n, channels, height, width] side by side as a PPM (PGM if they are grey, PAM if RGBA), as square as can be.
void write_grid(const std::string& path, const float* samples, std::int64_t n, const json& output) {
  const std::int64_t channels = output.at("shape")[0], height = output.at("shape")[1], width = output.at("shape")[2];
  const float low = output.at("range")[0], scale = 255.0 / (output.at("range")[1].get<double>() - low);
  const auto columns = static_cast<std::int64_t>(std::ceil(std::sqrt(n))), rows = (n + columns - 1) / columns;
  std::string grid(rows * columns * height * width * channels, '\0');
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t y = 0; y < height; ++y) {
        for (std::int64_t x = 0; x < width; ++x) {
          const float value = std::floor((*samples++ - low) * scale + 0.5f);  // rounded half up, as in Python
          const std::int64_t row = i / columns * height + y, column = i % columns * width + x;
          const auto pixel = static_cast<unsigned char>(value > 0 ? std::min(value, 255.0f) : 0);  // 0 if not a number
          grid[(row * columns * width + column) * channels + c] = static_cast<char>(pixel);
        }
      }
    }
  }
  std::ofstream file(path, std::ios::binary);
  if (channels == 4) {
    file << "P7\nWIDTH " << columns * width << "\nHEIGHT " << rows * height
         << "\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n" << grid;
  } else {
    file << (channels == 1 ? "P5\n" : "P6\n") << columns * width << ' ' << rows * height << "\n255\n" << grid;
  }
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

int main(int argc, char** argv) try {
  if (argc < 3 || argc > 6) {
    std::cerr << "usage: sample generator.onnx grid.ppm [n] [seed] [class]\n";
    return 2;
  }
  const std::int64_t n = argc > 3 ? std::stoll(argv[3]) : 16;
  const std::uint64_t seed = argc > 4 ? std::stoull(argv[4]) : 0;
  const std::int64_t label = argc > 5 ? std::stoll(argv[5]) : -1;
  if (n < 1) throw std::runtime_error("the number of samples is at least 1");
  if (argc > 4 && argv[4][0] == '-') throw std::runtime_error("a seed is at least 0");

  Ort::Env env(ORT_LOGGING_LEVEL_ERROR);
  Ort::Session session(env, argv[1], Ort::SessionOptions{});
  const json signature = read_signature(session);
  const json& output = signature.at("output");
  const bool image = output.at("kind") == "image" && output.at("dtype") == "float32";
  if (!image || (output.at("shape")[0] != 1 && output.at("shape")[0] != 3)) {
    throw std::runtime_error("this example writes grey and colour images of float32 alone");
  }

  std::vector<std::vector<float>> latents;
  std::vector<std::vector<std::int64_t>> labels;
  const auto inputs = draw(signature.at("inputs"), n, seed, label, latents, labels);
  std::vector<std::string> names;
  for (const json& field : signature.at("inputs")) names.push_back(field.at("name"));
  std::vector<const char*> pointers;
  for (const std::string& name : names) pointers.push_back(name.c_str());
  Ort::AllocatorWithDefaultOptions allocator;
  const auto sample = session.GetOutputNameAllocated(0, allocator);
  const char* wanted = sample.get();
  const auto results = session.Run(Ort::RunOptions{}, pointers.data(), inputs.data(), inputs.size(), &wanted, 1);

  write_grid(argv[2], results[0].GetTensorData<float>(), n, output);
  std::cout << argv[2] << ": " << n << " samples\n";
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
