// Which of several texts is nearest in meaning to a query: cosines of embeddings.
//   example_rank_texts MODEL QUERY TEXT...
#include <algorithm>
#include <cstdio>
#include <numeric>

#include "qdqbert/inference.h"

int main(int argc, char** argv) {
  using namespace qdqbert::pipeline;
  if (argc < 4) {
    std::fprintf(stderr, "usage: example_rank_texts MODEL QUERY TEXT...\n");
    return 2;
  }
  try {
    std::vector<TextRequest> requests;
    for (int i = 2; i < argc; ++i) requests.push_back({argv[i]});
    const Embedder embedder(Pipeline::from_directory(argv[1]));  // vectors of length 1
    const std::vector<Embedding> vectors = embedder.answer(std::span<const TextRequest>(requests));
    std::vector<std::pair<float, size_t>> ranked;
    for (size_t i = 1; i < vectors.size(); ++i)
      ranked.emplace_back(std::inner_product(vectors[0].values.begin(), vectors[0].values.end(),
                                             vectors[i].values.begin(), 0.0F),
                          i);
    std::sort(ranked.rbegin(), ranked.rend());
    for (const auto& [cosine, i] : ranked) std::printf("%.4f %s\n", cosine, requests[i].text.c_str());
    return 0;
  } catch (const qdqbert::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
