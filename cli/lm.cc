// qdqbert lm: masked and causal language modelling, next sentences, generated text.
#include <cmath>
#include <cstdio>

#include "qdqbert/base/error.h"
#include "qdqbert/base/file.h"
#include "qdqbert/tasks/records.h"
#include "qdqbert/train/generate.h"
#include "qdqbert/train/lm_data.h"

#include "cli/task.h"

namespace qdqbert::cli {

namespace {

namespace fs = std::filesystem;

class LmTask : public Task {
 public:
  std::string verb() const override { return "lm"; }
  std::string samples() const override { return objective_ == "nsp" ? "pairs" : "texts"; }
  std::string class_name() const override {
    if (objective_ == "nsp") return "QDQBertForNextSentencePrediction";
    return objective_ == "causal" ? "QDQBertLMHeadModel" : "QDQBertForMaskedLM";
  }
  std::string default_metric() const override { return "loss"; }
  std::string about() const override {
    return "Language modelling: masked tokens (--objective masked), next tokens (causal), next sentences "
           "(nsp). Data are text files with a\n"
           "line per text (.txt; for nsp a line per sentence and empty lines between documents), or a "
           "column of .csv, .tsv, .jsonl and\n"
           ".json files, also .gz. Several actions may be combined; they run in the order calibrate, train, "
           "evaluate, predict, generate, export.\n\n"
           "  adapt to a domain:           qdqbert lm --model_name_or_path BERT --train_file texts.txt --do_train --do_eval \\\n"
           "                                 --quant-disable --output_dir adapted\n"
           "  perplexity of a text:        qdqbert lm --model_name_or_path BERT --validation_file text.txt --do_eval --output_dir out\n"
           "  continue a text:             qdqbert lm --objective causal --model_name_or_path decoder --do_generate --prompt \"once upon\" \\\n"
           "                                 --num_beams 4 --output_dir out";
  }

  void add_flags(ArgumentParser& parser) override {
    parser.add_choice("objective", objective_, {"masked", "causal", "nsp"},
                      "what the model learns to predict");
    parser.add("text_column_name", column_,
               "column with the text in .csv, .tsv, .jsonl and .json files (default: text)");
    parser.add("line_by_line", line_by_line_, "each line is a sample; otherwise all text is cut into blocks");
    parser.add("block_size", block_size_, "another name of --max_seq_length");
    parser.add("validation_split_percentage", split_percentage_,
               "share of --train_file that is kept for --do_eval without --validation_file");
    parser.add("mlm_probability", masking_.probability, "share of tokens to predict (masked)");
    parser.add("whole_word_mask", masking_.whole_word, "mask all pieces of a word together");
    parser.group("text generation (causal)");
    parser.add("do_generate", do_generate_, "continue --prompt");
    parser.add("prompt", prompt_, "beginning of the text");
    parser.add("prompt_file", prompt_file_, "file with a prompt in every line");
    parser.add("max_new_tokens", generation_.max_new_tokens, "tokens to add at most; [SEP] ends a text");
    parser.add("num_beams", generation_.beams, "beam search with this many beams; 1: greedy");
    parser.add("do_sample", generation_.sample, "draw tokens instead of taking the best");
    parser.add("temperature", generation_.temperature, "of sampling: below 1 bolder, above 1 flatter");
    parser.add("top_k", generation_.top_k, "sample among this many tokens (0: all)");
    parser.add("top_p", generation_.top_p, "and of these among the most probable that together reach this");
    parser.add("repetition_penalty", generation_.repetition_penalty,
               "above 1: tokens that occurred become less likely");
    parser.add("length_penalty", generation_.length_penalty, "of beam search: above 0 favours longer texts");
    parser.add("no_cache", no_cache_, "compute the whole text again at every step");
  }

  void check(TaskOptions& o, const ArgumentParser& parser) override {
    if (block_size_) {
      if (parser.given("max_seq_length") && *block_size_ != o.data.max_seq_length)
        fail<UsageError>("[lm] --block_size {} and --max_seq_length {} contradict each other", *block_size_,
                         o.data.max_seq_length);
      o.data.max_seq_length = *block_size_;
    }
    if (!(masking_.probability > 0 && masking_.probability <= 1))
      fail<UsageError>("[mlm_probability] {} is not a share above 0 and up to 1", masking_.probability);
    if (split_percentage_ < 1 || split_percentage_ > 99)
      fail<UsageError>("[validation_split_percentage] {}; 1 to 99 are possible", split_percentage_);
    if (masking_.whole_word && objective_ != "masked")
      fail<UsageError>("[whole_word_mask] needs --objective masked, this is {}", objective_);
    masking_.seed = generation_.seed = static_cast<uint64_t>(o.run.seed);
    if (!do_generate_) {
      if (prompt_ || prompt_file_) fail<UsageError>("[prompt] needs --do_generate");
      return;
    }
    if (objective_ != "causal")
      fail<UsageError>("[do_generate] needs --objective causal; a model of --objective {} fills gaps",
                       objective_);
    if (!prompt_ == !prompt_file_)
      fail<UsageError>("[do_generate] needs either --prompt TEXT or --prompt_file FILE");
    generation_.validate();
  }

  bool has_other_work() const override { return do_generate_; }

  void find_files(TaskFiles& files, const TaskOptions& o) override {
    if (files.validation || !o.run.do_eval || !files.train) return;
    files.validation = files.train;
    split_ = true;
  }

  void configure(io::BertConfig& config, const TaskFiles&, const TaskOptions&,
                 const std::function<bool(const std::string&)>&) override {
    if (objective_ == "causal") config.is_decoder = true;
  }

  std::unique_ptr<train::TaskData> open(TaskSplit split, const fs::path& file, std::optional<int64_t> limit,
                                        const train::TaskContext& context) override {
    if (objective_ == "nsp") {
      const bool labels = split == TaskSplit::kTrain || split == TaskSplit::kEvaluation;
      return std::make_unique<train::NextSentenceData>(
          part_of(tasks::read_sentence_pairs(file, context.seed, labels), split, limit), context);
    }
    tasks::LmBlockOptions options;
    options.max_length = static_cast<int>(context.max_length);
    options.line_by_line = line_by_line_;
    const std::vector<std::string> texts = part_of(tasks::read_texts(file, column_), split, std::nullopt);
    tasks::LmBlocks blocks = tasks::LmBlocks::build(texts, context.tokenizer, options, context.threads);
    if (limit) blocks.truncate(static_cast<size_t>(*limit));
    using Objective = train::LmData::Objective;
    return std::make_unique<train::LmData>(std::move(blocks),
                                           objective_ == "causal" ? Objective::kCausal : Objective::kMasked,
                                           masking_, context);
  }

  Json feature_settings() const override {
    Json settings = {{"objective", objective_}, {"line_by_line", line_by_line_}};
    if (objective_ == "masked") {
      settings["mlm_probability"] = masking_.probability;
      settings["whole_word_mask"] = masking_.whole_word;
    }
    return settings;
  }

  void other_work(const LoadedTask& loaded) override {
    std::vector<std::string> prompts;
    if (prompt_)
      prompts.push_back(*prompt_);
    else
      for (const tasks::TextLine& line : tasks::split_lines(read_file(*prompt_file_), *prompt_file_))
        prompts.emplace_back(line.text);
    tasks::GenerationOptions options = generation_;
    options.end_token = loaded.tokenizer.sep_id();
    std::string lines;
    for (const std::string& prompt : prompts) {
      std::vector<int32_t> ids = loaded.tokenizer.tokenize(prompt).ids;
      ids.insert(ids.begin(), loaded.tokenizer.cls_id());
      const auto positions = loaded.model.config().max_position_embeddings;
      if (static_cast<int64_t>(ids.size()) + options.max_new_tokens > positions + 1)
        fail("[generation] a prompt of {} tokens and --max_new_tokens {} do not fit the model's {} positions",
             ids.size(), options.max_new_tokens, positions);
      Json texts = Json::array();
      for (const tasks::Generated& text :
           tasks::generate(ids, train::next_token_logits(loaded.model, !no_cache_), options))
        texts.push_back({{"text", loaded.tokenizer.decode(text.tokens, true, true)},
                         {"score", text.score},
                         {"tokens", text.tokens}});
      const Json line = {{"prompt", prompt}, {"generated", texts}};
      lines += dump_json(line, {.indent = -1, .ascii = false}) + "\n";
    }
    write_file(loaded.output / "generated.jsonl", lines);
    std::fputs(lines.c_str(), stdout);
  }

 private:
  /// The share that a split has of one file, and of that the first `limit`.
  template <class Item>
  std::vector<Item> part_of(std::vector<Item> items, TaskSplit split,
                            const std::optional<int64_t>& limit) const {
    if (split_ && split != TaskSplit::kPrediction) {
      const size_t kept = std::max<size_t>(1, items.size() * static_cast<size_t>(split_percentage_) / 100);
      const auto middle = items.begin() + static_cast<std::ptrdiff_t>(std::min(kept, items.size()));
      if (split == TaskSplit::kEvaluation)
        items.erase(middle, items.end());
      else
        items.erase(items.begin(), middle);
    }
    if (limit && static_cast<size_t>(*limit) < items.size()) items.resize(static_cast<size_t>(*limit));
    return items;
  }

  std::string objective_ = "masked", column_;
  bool line_by_line_ = false, split_ = false, do_generate_ = false, no_cache_ = false;
  std::optional<int64_t> block_size_;
  int64_t split_percentage_ = 5;
  tasks::MaskingOptions masking_;
  tasks::GenerationOptions generation_;
  std::optional<std::string> prompt_, prompt_file_;
};

}  // namespace

int run_lm(const Arguments& arguments) {
  LmTask task;
  return run_task(task, arguments);
}

}  // namespace qdqbert::cli
