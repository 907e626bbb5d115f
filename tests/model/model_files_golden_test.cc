#include <fstream>

#include <gtest/gtest.h>

#include "qdqbert/base/log.h"
#include "qdqbert/model/activations.h"
#include "qdqbert/model/masks.h"
#include "qdqbert/nn/state_dict.h"

#include "tests/model/model_case.h"
#include "tests/support/golden.h"
#include "tests/support/scratch_directory.h"

namespace qdqbert::model {
namespace {

namespace fs = std::filesystem;
using testing::difference;
using testing::golden_dir;
using testing::GoldenFamily;
using testing::GoldenSkip;
using testing::tensor_of;

io::BertConfig changed_config(Json config, const Json& changes) {
  int64_t labels = 0;
  for (const auto& [key, value] : changes.items()) {
    if (key == "num_labels") {
      labels = value.get<int64_t>();
    } else {
      config[key] = value;
    }
  }
  io::BertConfig parsed = io::parse_config(config, "golden");
  if (labels > 0) parsed.set_num_labels(labels);
  return parsed;
}

/// Where x is infinite, if this test's device computes GELU with an operator of this LibTorch that has NaN
/// there: the CPU's, by oneDNN, since LibTorch 2.6, which the stand-in device calls.
at::Tensor not_from_operators(io::Activation activation, const at::Tensor& x) {
  const at::Tensor infinite = x.detach().cpu().isinf();
  const bool is_gelu = activation == io::Activation::kGelu || activation == io::Activation::kGelu10;
  const bool fails = at::gelu(at::full({64}, INFINITY)).isnan().any().item<bool>();
  return is_gelu && x.device().type() == at::kPrivateUse1 && fails ? infinite : at::zeros_like(infinite);
}

TEST(ModelFilesGolden, Activations) {
  QDQBERT_NEED_TEST_DEVICE();
  GoldenFamily family("activations");
  const Json golden = read_json(golden_dir() / "model/activations.json");
  const auto file = io::SafetensorsFile::open(golden_dir() / "model/activations.safetensors");
  for (const Json& item : golden.at("names")) {
    const std::string name = item.at("name");
    family.run(name, [&] {
      const auto activation = io::activation_of(name);
      ASSERT_TRUE(activation.has_value());
      at::Tensor x = testing::placed(file.at("x")).requires_grad_(true);
      const at::Tensor reference = tensor_of(file.at(name + ".y"));
      const at::Tensor exact = activate(*activation, tensor_of(file.at("x")).to(at::kDouble));
      const double distance = item.at("largest_difference_from_float64");
      EXPECT_EQ(difference(reference, exact, 1.001 * distance + 1e-12), "") << "the record and float64";
      const at::Tensor y = activate(*activation, x);
      // The record is a float32 evaluation of its own, so float64 judges ours: eight roundings of a value as
      // large as the result, as 1, from which the functions subtract, or as x, which multiplies what became
      // of the 1; from 16 on that is exact. (LibTorch's erf alone takes two, since 2.6.)
      const at::Tensor ours = y.detach().cpu().to(at::kDouble), off = (ours - exact).abs();
      const at::Tensor factor = tensor_of(file.at("x")).to(at::kDouble).abs().clamp_max(16.0);
      const at::Tensor allowed = at::maximum(exact.abs(), factor).clamp_min(1.0) * (8.0 / (1 << 24));
      const at::Tensor right = (off <= allowed) | (ours == exact) | (ours.isnan() & exact.isnan());
      EXPECT_EQ(difference(y, at::where(right | not_from_operators(*activation, x), ours, exact)), "")
          << name;
      y.sum().backward();
      // Sixteen roundings of values as large as the largest gradient.
      const at::Tensor gradient = tensor_of(file.at(name + ".grad_x"));
      const double largest = std::max(1.0, gradient.abs().max().item<double>());
      EXPECT_EQ(difference(x.grad(), gradient, largest * 16 / (1 << 24)), "");
      const at::NoGradGuard no_grad;
      EXPECT_EQ(difference(activate(*activation, x.detach().clone(), true), y.detach()), "") << "in place";
    });
  }
  EXPECT_FALSE(io::activation_of("selu").has_value());
}

TEST(ModelFilesGolden, Masks) {
  QDQBERT_NEED_TEST_DEVICE();
  GoldenFamily family("masks");
  const Json golden = read_json(golden_dir() / "model/masks.json");
  const auto file = io::SafetensorsFile::open(golden_dir() / "model/masks.safetensors");
  for (const Json& item : golden.at("cases")) {
    const std::string name = item.at("name"), function = item.at("function");
    family.run(name, [&] {
      at::Tensor mask = testing::placed(file.at(name + ".mask"));
      if (name.find("bool") != std::string::npos) mask = mask.to(at::kBool);
      const auto compute = [&] {
        if (function == "extended") {
          return extended_attention_mask(mask, item.at("input_shape")[0], item.at("input_shape")[1],
                                         item.at("config").value("is_decoder", false), at::kFloat);
        }
        if (function == "invert") return inverted_attention_mask(mask, at::kFloat);
        const int64_t layers = item.contains("shape") ? item.at("shape")[0].get<int64_t>() : 2;
        return head_mask_by_layer(mask, layers, at::kFloat);
      };
      if (item.contains("exception")) {
        EXPECT_THROW(compute(), InputError);
      } else {
        EXPECT_EQ(difference(compute(), tensor_of(file.at(name + ".out"))), "");
      }
    });
  }
}

TEST(ModelFilesGolden, Initialisation) {
  GoldenFamily family("initialisation");
  const Json golden = read_json(golden_dir() / "model/initialisation.json");
  for (const auto& [key, item] : golden.at("cases").items()) {
    family.run(key, [&] {
      const io::BertConfig config = changed_config(golden.at("config"), item.at("config_changes"));
      const auto model = make_model(key.substr(0, key.find('{')), config);
      model->init_weights(item.at("manual_seed").get<uint64_t>());
      std::set<std::string> names;
      for (const nn::NamedTensor& parameter : nn::state_dict(*model)) names.insert(parameter.name);
      for (const auto& [name, expected] : item.at("parameters").items()) {
        ASSERT_TRUE(names.contains(name)) << name;
        for (const nn::NamedTensor& parameter : nn::state_dict(*model)) {
          if (parameter.name != name) continue;
          const at::Tensor values = parameter.tensor.detach().to(at::kDouble);
          const double count = static_cast<double>(values.numel()), deviation = expected.at("std");
          EXPECT_EQ(values.sizes().vec(), expected.at("shape").get<std::vector<int64_t>>()) << name;
          if (deviation == 0) {
            EXPECT_EQ(difference(values, at::full_like(values, expected.at("mean").get<double>())), "")
                << name;
            continue;
          }
          // Five standard errors of mean and deviation of a normal sample.
          const double sigma = config.initializer_range;
          EXPECT_NEAR(values.mean().item<double>(), 0, 5 * sigma / std::sqrt(count)) << name;
          EXPECT_NEAR(values.std().item<double>(), sigma, 5 * sigma / std::sqrt(2 * count)) << name;
        }
      }
      std::vector<int64_t> zero_rows;
      const at::Tensor& words = model->base().embeddings->word_embeddings->weight;
      for (int64_t row = 0; row < words.size(0); ++row) {
        if (words[row].eq(0).all().item<bool>()) zero_rows.push_back(row);
      }
      EXPECT_EQ(zero_rows, item.at("zero_rows_of_word_embeddings").get<std::vector<int64_t>>());
    });
  }
}

Json shape_of(const at::Tensor& tensor) {
  return tensor.defined() ? Json(tensor.sizes().vec()) : Json();
}
Json shapes_of(const std::vector<at::Tensor>& tensors) {
  Json list = Json::array();
  for (const at::Tensor& tensor : tensors) list.push_back(shape_of(tensor));
  return list;
}

Json field_shapes(const ModelOutputs& outputs, OutputField field) {
  if (field == OutputField::kHiddenStates) return shapes_of(outputs.hidden_states);
  if (field == OutputField::kAttentions) return shapes_of(outputs.attentions);
  if (field == OutputField::kCrossAttentions) return shapes_of(outputs.cross_attentions);
  if (field != OutputField::kPastKeyValues)
    return shape_of(testing::output_of(outputs, std::string(name_of(field))));
  Json list = Json::array();
  for (const LayerCache& cache : outputs.past_key_values) list.push_back(shapes_of(cache));
  return list;
}

Json tuple_shapes(const HeadSpec& spec, const ModelOutputs& outputs) {
  Json shapes = Json::array();
  for (const OutputField field : present_fields(spec, outputs, true))
    shapes.push_back(field_shapes(outputs, field));
  return shapes;
}

ModelInputs plain_inputs(const HeadSpec& spec, int64_t batch, int64_t length, int64_t vocabulary) {
  ModelInputs inputs;
  const bool choices = spec.class_name == "QDQBertForMultipleChoice";
  const std::vector<int64_t> shape =
      choices ? std::vector<int64_t>{batch, 2, length} : std::vector<int64_t>{batch, length};
  inputs.input_ids = at::arange(element_count(shape)).remainder(vocabulary - 2).add(2).reshape(shape);
  inputs.attention_mask = at::ones(shape, at::kLong);
  return inputs;
}

TEST(ModelFilesGolden, OutputsAndCheckpointKeys) {
  GoldenFamily family("outputs_and_checkpoint_keys");
  const Json golden = read_json(golden_dir() / "model/outputs_and_checkpoint_keys.json");
  const int64_t batch = golden.at("B"), length = golden.at("S");
  for (const Json& item : golden.at("cases")) {
    const std::string class_name = item.at("class");
    family.run(class_name + item.at("config_changes").dump(), [&] {
      const io::BertConfig config = changed_config(golden.at("config"), item.at("config_changes"));
      const HeadSpec& spec = head_spec(class_name);
      const auto model = make_model(class_name, config);
      model->init_weights(1);
      const at::NoGradGuard no_grad;
      ModelInputs inputs = plain_inputs(spec, batch, length, config.vocab_size);
      EXPECT_EQ(tuple_shapes(spec, model->forward(inputs)), item.at("tuple_shapes"));
      for (const Json& label : item.at("labels")) {
        const std::string name = label;
        const bool by_token =
            class_name.find("LM") != std::string::npos || class_name.find("Token") != std::string::npos;
        testing::input_of(inputs, name) =
            by_token ? at::zeros({batch, length}, at::kLong) : at::zeros({batch}, at::kLong);
      }
      ForwardOptions options;
      options.output_attentions = options.output_hidden_states = true;
      const ModelOutputs outputs = model->forward(inputs, options);
      EXPECT_EQ(tuple_shapes(spec, outputs), item.at("tuple_shapes_with_labels_hidden_states_attentions"));
      Json keys = Json::array();
      for (const OutputField field : present_fields(spec, outputs, false))
        keys.push_back(std::string(name_of(field)));
      EXPECT_EQ(keys, item.at("dict_keys"));

      const ScratchDirectory scratch;
      save_model(*model, scratch.path());
      std::set<std::string> files;
      for (const auto& entry : fs::directory_iterator(scratch.path()))
        files.insert(entry.path().filename().string());
      EXPECT_EQ(files, item.at("files_safetensors").get<std::set<std::string>>());
      const auto saved = io::SafetensorsFile::open(scratch.path() / "model.safetensors");
      const Json& recorded =
          item.at(item.at("keys_safetensors").is_array() ? "keys_safetensors" : "keys_bin");
      std::vector<std::string> expected = recorded.get<std::vector<std::string>>(), ours = saved.names();
      std::sort(expected.begin(), expected.end());
      std::sort(ours.begin(), ours.end());
      EXPECT_EQ(ours, expected);
      for (const auto& [name, value] : item.at("safetensors_metadata").items()) {
        EXPECT_EQ(saved.metadata(name), value.get<std::string>());
      }
      // What was saved loads back to the same outputs.
      const LoadedModel again = load_model(class_name, scratch.path());
      EXPECT_TRUE(again.report.missing.empty());
      const ModelOutputs repeated = again.model->forward(inputs, options);
      for (const OutputField field : present_fields(spec, outputs, true)) {
        const at::Tensor tensor = testing::output_of(outputs, std::string(name_of(field)));
        if (tensor.defined()) {
          EXPECT_EQ(difference(testing::output_of(repeated, std::string(name_of(field))), tensor), "");
        }
      }
    });
  }
}

TEST(ModelFilesGolden, Structure) {
  GoldenFamily family("structure");
  for (const auto& entry : fs::directory_iterator(golden_dir() / "model")) {
    if (!entry.path().filename().string().ends_with("structure.json")) continue;
    family.run(entry.path().filename().string(), [&] {
      const Json golden = read_json(entry.path());
      const auto model =
          make_model(golden.at("class").get<std::string>(), io::parse_config(golden.at("config"), "golden"),
                     testing::defaults_of(""));
      int64_t parameters = 0;
      for (const at::Tensor& parameter : model->parameters()) parameters += parameter.numel();
      EXPECT_EQ(parameters, golden.at("parameters").get<int64_t>());
      Json state = Json::object();
      for (const nn::NamedTensor& item : nn::state_dict(*model)) state[item.name] = item.tensor.sizes().vec();
      EXPECT_EQ(state, golden.at("state_dict_uncalibrated"));

      std::vector<std::string> names;
      for (const NamedQuantizer& item : model->named_quantizers()) {
        names.push_back(item.name);
        const Json& texts = golden.at("quantizer_text_fresh");
        if (texts.contains(item.name)) {
          EXPECT_EQ(item.quantizer->to_string(), texts.at(item.name).get<std::string>());
        }
        const std::string path = item.name.substr(0, item.name.rfind('.'));
        const bool rows = item.name.ends_with("_weight_quantizer");
        item.quantizer->replace_amax(rows ? at::ones({state.at(path + ".weight")[0].get<int64_t>(), 1})
                                          : at::ones({}));
      }
      EXPECT_EQ(names, golden.at("quantizers").get<std::vector<std::string>>());
      std::vector<std::string> order;
      Json ranges = Json::array();
      for (const nn::NamedTensor& item : nn::state_dict(*model)) {
        order.push_back(item.name);
        if (item.name.ends_with("._amax")) ranges.push_back({item.name, item.tensor.sizes().vec()});
      }
      EXPECT_EQ(order, golden.at("state_dict_calibrated_order").get<std::vector<std::string>>());
      EXPECT_EQ(ranges, golden.at("state_dict_calibrated_keys_in_order"));
    });
  }
}

std::vector<std::string> sorted(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  return names;
}

TEST(ModelFilesGolden, Checkpoints) {
  GoldenFamily family("checkpoints");
  const fs::path root = golden_dir() / "model/checkpoints";
  const Json golden = read_json(root / "checkpoints.json");
  const auto expected = io::SafetensorsFile::open(root / "expected.safetensors");
  const ModelInputs inputs = testing::inputs_of(expected, "input.");
  for (const Json& item : golden.at("cases")) {
    const std::string name = item.at("name");
    family.run(name, [&] {
      if (!item.contains("class")) throw GoldenSkip{"the original needs CUDA to load ranges, this does not"};
      const fs::path directory = root / item.at("directory").get<std::string>();
      const auto model =
          make_model(item.at("class").get<std::string>(),
                     changed_config(read_json(directory / "config.json"), item.at("config_changes")));
      const auto checkpoint = io::Checkpoint::open(directory);
      if (item.contains("exception")) {
        EXPECT_THROW(load_weights(*model, checkpoint), InputError);
        return;
      }
      model->train();
      const Json& mismatched = item.at("mismatched_keys");
      const io::LoadReport report =
          load_weights(*model, checkpoint, {.ignore_mismatched_sizes = !mismatched.empty()});
      EXPECT_EQ(model->is_training(), item.at("training_mode").get<bool>());
      EXPECT_EQ(sorted(report.missing), sorted(item.at("missing_keys")));
      EXPECT_EQ(report.mismatched.size(), mismatched.size());
      std::vector<std::string> unexpected = report.unexpected;
      unexpected.insert(unexpected.end(), report.ranges.begin(), report.ranges.end());
      EXPECT_EQ(sorted(unexpected), sorted(item.at("unexpected_keys")));
      size_t buffers = 0;
      for (const NamedQuantizer& quantizer : model->named_quantizers())
        buffers += quantizer.quantizer->has_amax();
      EXPECT_EQ(buffers, report.ranges.size());
      if (item.at("amax_buffers").get<size_t>() != buffers) {
        // The original's low-memory path drops the ranges; ours has no such path.
        ASSERT_EQ(item.at("amax_buffers").get<size_t>(), 0U);
        for (const NamedQuantizer& quantizer : model->named_quantizers())
          quantizer.quantizer->replace_amax({});
      }
      if (!mismatched.empty()) return;  // outputs depend on the original's random numbers

      const at::NoGradGuard no_grad;
      // The cases of these classes suggest up to 5e-5 for their draws (language model logits); twice that for
      // others. One flipped code would show as more than 1e-3.
      constexpr double kTolerance = 1e-4;
      const auto compare = [&](const ModelOutputs& outputs, const std::string& prefix) {
        for (const io::NamedTensor& tensor : expected.tensors()) {
          const std::string output =
              tensor.name.starts_with(prefix) ? tensor.name.substr(prefix.size()) : ".";
          if (output.find('.') != std::string::npos) continue;
          EXPECT_EQ(difference(testing::output_of(outputs, output), tensor_of(tensor.tensor), kTolerance), "")
              << tensor.name;
        }
      };
      compare(model->forward(inputs), name + ".");
      for (const NamedQuantizer& quantizer : model->named_quantizers()) quantizer.quantizer->disable();
      compare(model->base().forward(inputs), name + ".quantizers_disabled.");
    });
  }
}

}  // namespace
}  // namespace qdqbert::model
