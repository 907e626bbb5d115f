#include "qdqbert/onnx/bert_graph.h"

#include <limits>

#include "qdqbert/base/error.h"
#include "qdqbert/onnx/bert_layers.h"

namespace qdqbert::onnx {
namespace {

const std::string kBatch = "batch_size", kSequence = "seq_len", kChoices = "num_choices",
                  kPast = "past_seq_len", kAll = "past_seq_len + seq_len", kSource = "encoder_seq_len";

/// Graph inputs as the encoder reads them: [rows, seq_len].
struct EncoderInputs {
  Value ids, mask, types;
  Value encoder_states, encoder_mask;  ///< of a cross-attention
  std::vector<LayerCache> past;
};

/// Everything around the layers, for one source.
class GraphOfModel {
 public:
  GraphOfModel(const BertSource& source, const BertGraphOptions& options)
      : source_(source),
        options_(options),
        writer_(source, options),
        base_(scope_of_prefix(source.base_prefix)) {}

  Model build() {
    const EncoderInputs inputs = add_inputs();
    if (source_.is_decoder) measure(inputs);
    LayerContext context;
    context.mask = source_.is_decoder ? causal_mask(inputs.mask) : additive_mask(inputs.mask);
    if (relative()) add_distances(inputs, context);
    context.encoder_states = inputs.encoder_states;
    if (!inputs.encoder_mask.empty()) context.encoder_mask = additive_mask(inputs.encoder_mask);
    Value x = embeddings(inputs);
    states_.push_back(x);
    const Scope encoder = base_.child("encoder");
    for (int64_t i = 0; i < source_.layers; ++i) {
      LayerCache present;
      x = writer_.layer(encoder.child(fmt::format("layer.{}", i)), x, context,
                        inputs.past.empty() ? LayerCache{} : inputs.past[static_cast<size_t>(i)],
                        options_.cache == GraphCache::kNone ? nullptr : &present);
      states_.push_back(x);
      if (options_.cache != GraphCache::kNone) present_.push_back(present);
    }
    const auto further = further_outputs();
    add_head(x);
    for (const auto& [name, value, shape] : further) add_output(name, value, shape);
    add_present();
    return graph().take();
  }

 private:
  static Scope scope_of_prefix(std::string prefix) {
    if (prefix.empty()) return {"", ""};
    prefix.pop_back();  // the dot
    return Scope{"", ""}.child(prefix);
  }

  GraphBuilder& graph() { return writer_.graph(); }
  bool relative() const {
    return source_.positions == GraphPositions::kRelativeKey ||
           source_.positions == GraphPositions::kRelativeKeyQuery;
  }

  EncoderInputs add_inputs() {
    const bool choices = source_.head == GraphHead::kMultipleChoice;
    const bool has_past = options_.cache == GraphCache::kPast;
    const auto add = [&](const char* name, const std::string& length_name = kSequence) {
      const std::vector<Dimension> shape = choices ? std::vector<Dimension>{kBatch, kChoices, length_name}
                                                   : std::vector<Dimension>{kBatch, length_name};
      const Value input = graph().input(name, DType::kI64, shape);
      if (!choices) return input;
      // [B, C, S] as [B * C, S]: the sequence length is copied from the input's own shape.
      const Value length = graph().node("Gather", base_.path,
                                        {graph().node("Shape", base_.path, {input}), graph().integers({2})});
      const Value rows =
          graph().node("Concat", base_.path, {graph().integers({-1}), length}, {{"axis", int64_t{0}}});
      return graph().node("Reshape", base_.path, {input, rows});
    };
    EncoderInputs inputs;
    inputs.ids = add("input_ids");
    inputs.mask = add("attention_mask", has_past ? kAll : kSequence);
    inputs.types = add("token_type_ids");
    if (source_.cross_attention) {
      if (!has_past)
        inputs.encoder_states = float_input("encoder_hidden_states", {kBatch, kSource, source_.hidden_size});
      inputs.encoder_mask = add("encoder_attention_mask", kSource);
    }
    for (int64_t i = 0; has_past && i < source_.layers; ++i) {
      LayerCache& cache = inputs.past.emplace_back();
      for_each_cache(
          i, cache,
          [&](const std::string& name, Value& value, const std::vector<Dimension>& shape) {
            value = float_input("past_key_values." + name, shape);
          },
          kPast);
    }
    return inputs;
  }

  /// A float32 input in the type that the graph computes in.
  Value float_input(const std::string& name, const std::vector<Dimension>& shape) {
    const Value input = graph().input(name, DType::kF32, shape);
    if (writer_.float_type() == DType::kF32) return input;
    return graph().node("Cast", base_.path, {input}, {{"to", int64_t{onnx_type(writer_.float_type())}}});
  }

  /// Calls each(name behind the prefix, value, shape) for the keys and values of layer `i`.
  template <class Each>
  void for_each_cache(int64_t i, LayerCache& cache, const Each& each, const std::string& length) {
    const auto visit = [&](const std::string& kind, const char* block, CacheValues& values,
                           const std::string& rows) {
      const std::string query =
          base_.child("encoder").child(fmt::format("layer.{}", i)).child(block).child("self").key +
          ".query.weight";
      const std::vector<Dimension> shape = {kBatch, outputs_of_weight(query) / source_.head_size, rows,
                                            source_.head_size};
      each(fmt::format("{}{}.key", i, kind), values.key, shape);
      each(fmt::format("{}{}.value", i, kind), values.value, shape);
    };
    visit(source_.cross_attention ? ".decoder" : "", "attention", cache.self, length);
    if (source_.cross_attention) visit(".encoder", "crossattention", cache.cross, kSource);
  }

  int64_t outputs_of_weight(const std::string& key) const {
    const Shape shape = source_.weight(key).shape;
    return shape.empty() ? 0 : shape[0];
  }

  /// Second dimension of a graph input, as a scalar.
  Value columns_of(const Value& input) {
    return graph().node("Gather", base_.path,
                        {graph().node("Shape", base_.path, {input}), graph().integers({1}, {})});
  }

  /// Lengths of a decoder's call: all tokens, which the mask knows, and those before its own.
  void measure(const EncoderInputs& inputs) {
    all_length_ = columns_of(inputs.mask);
    past_length_ = graph().node("Sub", base_.path, {all_length_, columns_of(inputs.ids)});
  }

  /// As additive_mask for keys that lie before the query or at it: [B, 1, S, P + S].
  Value causal_mask(const Value& mask) {
    const Value one = graph().integers({1}, {});
    const Value columns = graph().node("Range", base_.path, {graph().integers({0}, {}), all_length_, one});
    const Value rows = graph().node("Range", base_.path, {past_length_, all_length_, one});
    const Value allowed =
        graph().node("LessOrEqual", base_.path,
                     {graph().node("Unsqueeze", base_.path, {columns, graph().integers({0})}),
                      graph().node("Unsqueeze", base_.path, {rows, graph().integers({1})})});
    const Value kept = graph().node("Cast", base_.path, {allowed}, {{"to", int64_t{onnx_type(DType::kI64)}}});
    const Value wide = graph().node("Unsqueeze", base_.path, {mask, graph().integers({1, 2})});
    return inverted(graph().node("Mul", base_.path, {wide, kept}));
  }

  /// (1 - mask) times the most negative number: [B, 1, 1, S].
  Value additive_mask(const Value& mask) {
    return inverted(graph().node("Unsqueeze", base_.path, {mask, graph().integers({1, 2})}));
  }

  Value inverted(const Value& wide) {
    const DType type = writer_.float_type();
    const Value number = graph().node("Cast", base_.path, {wide}, {{"to", int64_t{onnx_type(type)}}});
    const Value inverted = graph().node("Sub", base_.path, {writer_.number(1.0), number});
    const double lowest = type == DType::kF16 ? -65504.0 : std::numeric_limits<float>::lowest();
    return graph().node("Mul", base_.path, {inverted, writer_.number(lowest)});
  }

  /// Sequence length as a tensor [1].
  Value length_of(const Scope& scope, const Value& ids) {
    return graph().node("Gather", scope.path,
                        {graph().node("Shape", scope.path, {ids}), graph().integers({1})});
  }

  /// Positions count from the first token of the text, those of a past included, as the model's do.
  void add_distances(const EncoderInputs& inputs, LayerContext& context) {
    const std::string& path = base_.child("encoder").path;
    const auto range = [&](const Value& begin, const Value& end) {
      return graph().node("Range", path, {begin, end, graph().integers({1}, {})});
    };
    const Value zero = graph().integers({0}, {});
    const Value length = source_.is_decoder ? all_length_ : columns_of(inputs.ids);
    const Value keys = range(zero, length);
    const Value queries = source_.is_decoder ? range(past_length_, length) : keys;
    context.distance_index = distances(path, queries, keys);
    if (!inputs.encoder_mask.empty())
      context.encoder_distance_index = distances(path, queries, range(zero, columns_of(inputs.encoder_mask)));
  }

  /// [queries, keys]: query position - key position + P - 1, the row of the distance table.
  Value distances(const std::string& path, const Value& queries, const Value& keys) {
    const Value rows = graph().node("Unsqueeze", path, {queries, graph().integers({1})});
    const Value columns = graph().node("Unsqueeze", path, {keys, graph().integers({0})});
    return graph().node(
        "Add", path,
        {graph().node("Sub", path, {rows, columns}), graph().integers({source_.max_positions - 1}, {})});
  }

  Value embeddings(const EncoderInputs& inputs) {
    const Scope scope = base_.child("embeddings");
    Value sum = graph().node("Add", scope.path,
                             {writer_.embedding(scope.child("word_embeddings"), inputs.ids),
                              writer_.embedding(scope.child("token_type_embeddings"), inputs.types)});
    if (source_.positions == GraphPositions::kAbsolute) {
      const Scope positions = scope.child("position_embeddings");
      const auto vector_of = [&](const Value& length) {
        return graph().node("Unsqueeze", positions.path, {length, graph().integers({0})});
      };
      const bool moved = options_.cache == GraphCache::kPast;
      const Value begin = moved ? vector_of(past_length_) : graph().integers({0});
      const Value end = moved ? vector_of(all_length_) : length_of(positions, inputs.ids);
      const Value rows =
          graph().node("Slice", positions.path,
                       {writer_.parameter(positions.key + ".weight"), begin, end, graph().integers({0})});
      sum = graph().node("Add", scope.path, {sum, rows});
    }
    return writer_.layer_norm(scope.child("LayerNorm"), sum);
  }

  /// tanh(linear(first token)): [B, H].
  Value pooled(const Value& x) {
    const Scope scope = base_.child("pooler");
    const Value first =
        graph().node("Gather", scope.path, {x, graph().integers({0}, {})}, {{"axis", int64_t{1}}});
    return graph().node("Tanh", scope.path, {writer_.float_linear(scope.child("dense"), first)});
  }

  void add_output(const std::string& name, Value value, const std::vector<Dimension>& shape) {
    if (writer_.float_type() != DType::kF32)
      value = graph().node("Cast", "", {value}, {{"to", int64_t{onnx_type(DType::kF32)}}});
    graph().output(name, value, DType::kF32, shape);
  }

  int64_t outputs_of(const std::string& linear) const { return outputs_of_weight(linear + ".weight"); }

  void add_span_head(const Value& x) {
    const Scope root{"", ""};
    if (outputs_of("qa_outputs") != 2)
      fail("[onnx export] qa_outputs has {} outputs, question answering needs 2", outputs_of("qa_outputs"));
    const Value logits = writer_.float_linear(root.child("qa_outputs"), x);
    const auto halves = graph().node_with_outputs("Split", "", {logits, graph().integers({1, 1})}, 2,
                                                  {{"axis", int64_t{-1}}});
    const char* names[] = {"output_start_logits", "output_end_logits"};
    for (size_t i = 0; i < 2; ++i)
      add_output(names[i], graph().node("Squeeze", "", {halves[i], graph().integers({-1})}),
                 {kBatch, kSequence});
  }

  void add_classifier(const std::string& linear, const Value& x, bool by_token) {
    const int64_t count = outputs_of(linear);
    const size_t dot = linear.rfind('.');
    const Scope root{"", ""};
    const Scope scope = dot == std::string::npos
                            ? root.child(linear)
                            : root.child(linear.substr(0, dot)).child(linear.substr(dot + 1));
    const Value logits = writer_.float_linear(scope, x);
    add_output(
        "logits", logits,
        by_token ? std::vector<Dimension>{kBatch, kSequence, count} : std::vector<Dimension>{kBatch, count});
  }

  /// Logits [B * C, 1] back to [B, C]; C comes from the graph input.
  void add_choices(const Value& x) {
    const Value logits = writer_.float_linear(Scope{"", ""}.child("classifier"), pooled(x));
    const Value shape = graph().node("Slice", "",
                                     {graph().node("Shape", "", {"input_ids"}), graph().integers({0}),
                                      graph().integers({2}), graph().integers({0})});
    add_output("logits", graph().node("Reshape", "", {logits, shape}), {kBatch, kChoices});
  }

  void add_language_model(const Value& x) {
    const Scope predictions = Scope{"", ""}.child("cls").child("predictions");
    const Scope transform = predictions.child("transform");
    Value y = writer_.float_linear(transform.child("dense"), x);
    y = writer_.layer_norm(transform.child("LayerNorm"),
                           writer_.activation(transform.child("transform_act_fn"), y));
    const Scope decoder = predictions.child("decoder");
    const std::string words = base_.child("embeddings").child("word_embeddings").key + ".weight";
    const int64_t vocabulary = source_.weight(words).shape.at(0);
    Value logits;
    if (source_.tied_decoder) {
      const Value weight = graph().node("Transpose", decoder.path, {writer_.parameter(words)},
                                        {{"perm", std::vector<int64_t>{1, 0}}});
      logits = writer_.bias_and_matmul(decoder, y, weight, predictions.key + ".bias");
    } else {
      logits = writer_.float_linear(decoder, y);
    }
    add_output("logits", logits,
               {kBatch, kSequence, source_.tied_decoder ? vocabulary : outputs_of(decoder.key)});
  }

  void add_head(const Value& x) {
    switch (source_.head) {
      case GraphHead::kBase: {
        const Value pooler = source_.has_pooler ? pooled(x) : Value();
        add_output("last_hidden_state", x, {kBatch, kSequence, source_.hidden_size});
        if (source_.has_pooler) add_output("pooler_output", pooler, {kBatch, source_.hidden_size});
        return;
      }
      case GraphHead::kQuestionAnswering:
        return add_span_head(x);
      case GraphHead::kSequenceClassification:
        return add_classifier("classifier", pooled(x), false);
      case GraphHead::kTokenClassification:
        return add_classifier("classifier", x, true);
      case GraphHead::kMultipleChoice:
        return add_choices(x);
      case GraphHead::kNextSentence:
        return add_classifier("cls.seq_relationship", pooled(x), false);
      case GraphHead::kLanguageModel:
        return add_language_model(x);
    }
  }

  void add_present() {
    for (size_t i = 0; i < present_.size(); ++i)
      for_each_cache(
          static_cast<int64_t>(i), present_[i],
          [&](const std::string& name, Value& value, const std::vector<Dimension>& shape) {
            // The keys of a cross-attention are inputs that are handed through.
            if (value.starts_with("past_key_values.")) value = graph().node("Identity", base_.path, {value});
            add_output("present." + name, value, shape);
          },
          options_.cache == GraphCache::kPast ? kAll : kSequence);
  }

  struct FurtherOutput {
    std::string name;
    Value value;
    std::vector<Dimension> shape;
  };

  /// Values of their own, because the head's outputs take the names of theirs.
  std::vector<FurtherOutput> further_outputs() {
    std::vector<FurtherOutput> outputs;
    const bool has_head = source_.head != GraphHead::kBase;
    const auto copy = [&](const std::string& name, const Value& value) {
      outputs.push_back(
          {name, graph().node("Identity", base_.path, {value}), {kBatch, kSequence, source_.hidden_size}});
    };
    if (options_.hidden_states && has_head) copy("last_hidden_state", states_.back());
    for (size_t i = 0; options_.hidden_states && i < states_.size(); ++i)
      copy(fmt::format("hidden_states.{}", i), states_[i]);
    const bool reads_pooler = source_.head == GraphHead::kSequenceClassification ||
                              source_.head == GraphHead::kMultipleChoice ||
                              source_.head == GraphHead::kNextSentence;
    if (options_.pooler_output && has_head && !reads_pooler) {
      if (!source_.has_pooler) fail("[onnx export] pooler_output is asked for, the model has no pooler");
      outputs.push_back({"pooler_output", pooled(states_.back()), {kBatch, source_.hidden_size}});
    }
    return outputs;
  }

  const BertSource& source_;
  const BertGraphOptions& options_;
  BertWriter writer_;
  const Scope base_;
  Value all_length_, past_length_;  ///< of decoders: scalars
  std::vector<Value> states_;       ///< embeddings, then every layer
  std::vector<LayerCache> present_;
};

}  // namespace

Model build_bert_graph(const BertSource& source, const BertGraphOptions& options) {
  if (!((options.opset >= 13 && options.opset <= 17) || options.opset == 19))
    fail<UsageError>("[onnx export] opset {} is not written; 13 to 17 are, and 19 in half precision",
                     options.opset);
  if (source.cross_attention && !source.is_decoder)
    fail("[onnx export] cross-attention needs a decoder (is_decoder in config.json)");
  if (options.cache != GraphCache::kNone && !source.is_decoder)
    fail("[onnx export] the model is no decoder and keeps no keys and values from call to call");
  if (source.is_decoder && source.head == GraphHead::kMultipleChoice)
    fail(
        "[onnx export] multiple choice needs an encoder, the model is a decoder (is_decoder in config.json)");
  return GraphOfModel(source, options).build();
}

}  // namespace qdqbert::onnx
