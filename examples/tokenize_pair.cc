// A question and a context as model inputs: identifiers, token types,
// and where each token stands in its text.
//   example_tokenize_pair DIRECTORY_OR_VOCABULARY
#include <cstdio>

#include "qdqbert/base/error.h"
#include "qdqbert/text/encoding.h"
#include "qdqbert/text/tokenizer.h"

int main(int argc, char** argv) {
  using namespace qdqbert::text;
  if (argc != 2) {
    std::fprintf(stderr, "usage: example_tokenize_pair DIRECTORY_OR_VOCABULARY\n");
    return 2;
  }
  try {
    const Tokenizer tokenizer = Tokenizer::from_path(argv[1]);
    EncodeOptions options;
    options.truncation = Truncation::kOnlySecond;
    options.max_length = 16;
    options.stride = 4;
    options.return_overflow = true;
    const Batch batch = encode(tokenizer, {"Who was Jim Henson?"},
                               {"Jim Henson was a nice puppet, and much else besides."}, options);
    for (const Encoding& feature : batch.features) {
      for (size_t i = 0; i < feature.ids.size(); ++i)
        std::printf("%s/%d[%u,%u) ", std::string(tokenizer.vocabulary().token(feature.ids[i])).c_str(),
                    feature.type_ids[i], feature.offsets[i].begin, feature.offsets[i].end);
      std::printf("\n");
    }
    return batch.features.size() > 1 ? 0 : 1;
  } catch (const qdqbert::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
