#include "qdqbert/onnx/bert_graph.h"

#include <limits>

#include "qdqbert/base/error.h"
#include "qdqbert/onnx/bert_layers.h"

namespace qdqbert::onnx {
namespace {

const std::string kBatch = "batch_size", kSequence = "seq_len", kChoices = "num_choices";

/// Graph inputs as the encoder reads them: [rows, seq_len].
struct EncoderInputs {
  Value ids, mask, types;
};

/// Everything around the layers, for one source.
class GraphOfModel {
 public:
  GraphOfModel(const BertSource& source, const BertGraphOptions& options)
      : source_(source), writer_(source, options), base_(scope_of_prefix(source.base_prefix)) {}

  Model build() {
    const EncoderInputs inputs = add_inputs();
    const Value mask = additive_mask(inputs.mask);
    const Value distance_index = relative() ? distances(inputs.ids) : Value();
    Value x = embeddings(inputs);
    const Scope encoder = base_.child("encoder");
    for (int64_t i = 0; i < source_.layers; ++i)
      x = writer_.layer(encoder.child(fmt::format("layer.{}", i)), x, mask, distance_index);
    add_head(x);
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
    const auto add = [&](const char* name) {
      const std::vector<Dimension> shape = choices ? std::vector<Dimension>{kBatch, kChoices, kSequence}
                                                   : std::vector<Dimension>{kBatch, kSequence};
      const Value input = graph().input(name, DType::kI64, shape);
      if (!choices) return input;
      // [B, C, S] as [B * C, S]: the sequence length is copied from the input's own shape.
      const Value length = graph().node("Gather", base_.path,
                                        {graph().node("Shape", base_.path, {input}), graph().integers({2})});
      const Value rows =
          graph().node("Concat", base_.path, {graph().integers({-1}), length}, {{"axis", int64_t{0}}});
      return graph().node("Reshape", base_.path, {input, rows});
    };
    return {add("input_ids"), add("attention_mask"), add("token_type_ids")};
  }

  /// (1 - mask) times the most negative number: [B, 1, 1, S].
  Value additive_mask(const Value& mask) {
    const DType type = writer_.float_type();
    const Value wide = graph().node("Unsqueeze", base_.path, {mask, graph().integers({1, 2})});
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

  /// [S, S]: query position - key position + P - 1, the row of the distance table.
  Value distances(const Value& ids) {
    const Scope scope = base_.child("encoder");
    const Value length = graph().node("Squeeze", scope.path, {length_of(scope, ids), graph().integers({0})});
    const Value positions =
        graph().node("Range", scope.path, {graph().integers({0}, {}), length, graph().integers({1}, {})});
    const Value rows = graph().node("Unsqueeze", scope.path, {positions, graph().integers({1})});
    const Value columns = graph().node("Unsqueeze", scope.path, {positions, graph().integers({0})});
    return graph().node("Add", scope.path,
                        {graph().node("Sub", scope.path, {rows, columns}),
                         graph().integers({source_.max_positions - 1}, {})});
  }

  Value embeddings(const EncoderInputs& inputs) {
    const Scope scope = base_.child("embeddings");
    Value sum = graph().node("Add", scope.path,
                             {writer_.embedding(scope.child("word_embeddings"), inputs.ids),
                              writer_.embedding(scope.child("token_type_embeddings"), inputs.types)});
    if (source_.positions == GraphPositions::kAbsolute) {
      const Scope positions = scope.child("position_embeddings");
      const Value rows = graph().node("Slice", positions.path,
                                      {writer_.parameter(positions.key + ".weight"), graph().integers({0}),
                                       length_of(positions, inputs.ids), graph().integers({0})});
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

  int64_t outputs_of(const std::string& linear) const {
    const Shape shape = source_.weight(linear + ".weight").shape;
    return shape.empty() ? 0 : shape[0];
  }

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

  const BertSource& source_;
  BertWriter writer_;
  const Scope base_;
};

}  // namespace

Model build_bert_graph(const BertSource& source, const BertGraphOptions& options) {
  if (!((options.opset >= 13 && options.opset <= 17) || options.opset == 19))
    fail<UsageError>("[onnx export] opset {} is not written; 13 to 17 are, and 19 in half precision",
                     options.opset);
  return GraphOfModel(source, options).build();
}

}  // namespace qdqbert::onnx
