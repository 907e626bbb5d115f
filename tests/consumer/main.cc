// Tokenizes, fake-quantizes and writes a file with an installed library.
#include <cstdio>
#include <cstring>
#include <vector>

#include "qdqbert/inference.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: consumer VOCABULARY FILE\n");
    return 2;
  }
  const auto tokenizer = qdqbert::text::Tokenizer::from_vocabulary(argv[1]);
  const auto tokens = tokenizer.tokenize("Hello, my dog is cute");
  if (tokens.size() != 6) return 1;

  std::vector<float> x(tokens.ids.begin(), tokens.ids.end()), y(x.size());
  qdqbert::quant::fake_quant(x, qdqbert::quant::AmaxView::per_tensor(8000.0F, x.size()), {}, y);

  const qdqbert::TensorView view{
      qdqbert::DType::kF32, {static_cast<int64_t>(y.size())}, std::as_bytes(std::span(y))};
  const std::vector<qdqbert::io::NamedTensor> out = {{"y", view}};
  qdqbert::io::write_safetensors(argv[2], out);
  const auto file = qdqbert::io::SafetensorsFile::open(argv[2]);
  const auto& back = file.at("y");
  if (std::memcmp(back.data.data(), y.data(), y.size() * sizeof(float)) != 0) return 1;
  std::printf("qdqbert %s: %zu tokens, %zu bytes\n", qdqbert::kVersion, tokens.size(), back.data.size());
  return 0;
}
