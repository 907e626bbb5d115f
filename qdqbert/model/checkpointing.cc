#include "qdqbert/model/checkpointing.h"

#include <memory>
#include <mutex>
#include <type_traits>

#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

#include "qdqbert/nn/autocast.h"
#include "qdqbert/nn/dropout.h"

namespace qdqbert::model {
namespace {

namespace ag = torch::autograd;

/// What random numbers of the next operation depend on.
struct RandomState {
  at::Tensor generator;
  nn::DropoutPosition dropout;
};

RandomState random_state() {
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard<std::mutex> lock(generator.mutex());
  return {generator.get_state(), nn::dropout_position()};
}

void set_random_state(const RandomState& state) {
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_state(state.generator);
  nn::set_dropout_position(state.dropout);
}

at::Tensor leaf_of(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.detach().requires_grad_(tensor.requires_grad()) : tensor;
}

at::Tensor gradient_of(const at::Tensor& leaf) {
  return leaf.defined() && leaf.requires_grad() ? leaf.grad() : at::Tensor();
}

// Stands in the graph for the whole layer. Its inputs are the hidden and the encoder states; the layer's
// parameters get their gradients from the inner backward pass.
struct CheckpointNode : ag::Node {
  std::shared_ptr<Layer> layer;
  at::Tensor hidden;
  RandomState random;
  nn::HalfAutocast::State precision;  // the backward pass begins where autocast has ended
  LayerInputs inputs;
  LayerContext context;

  ag::variable_list apply(ag::variable_list&& gradients) override {
    const at::AutoGradMode with_gradients(true);
    const RandomState now = random_state();
    const at::Tensor states = leaf_of(hidden);
    LayerInputs again = inputs;
    again.encoder_states = leaf_of(inputs.encoder_states);
    set_random_state(random);
    LayerOutput output;
    {
      const nn::AutocastAgain same(precision);
      output = layer->forward(states, again, context);
    }
    set_random_state(now);

    ag::variable_list roots, root_gradients;
    const at::Tensor outputs[] = {output.hidden, output.probabilities, output.cross_probabilities};
    for (size_t i = 0; i < gradients.size(); ++i) {
      if (!gradients[i].defined() || !outputs[i].requires_grad()) continue;
      roots.push_back(outputs[i]);
      root_gradients.push_back(gradients[i]);
    }
    if (!roots.empty()) ag::backward(roots, root_gradients);
    return {gradient_of(states), gradient_of(again.encoder_states)};
  }

  void release_variables() override {
    hidden = at::Tensor();
    inputs = {};
  }
};

// A node for the graph. Those of LibTorch 2.15 count their owners themselves. Of others a long chain of nodes
// overflows the stack unless deleteNode() takes it apart, a name that has to be found by its argument.
template <class Node>
auto new_node() {
  if constexpr (std::is_same_v<decltype(ag::Edge::function), std::shared_ptr<ag::Node>>)
    return std::shared_ptr<Node>(new Node, [](Node* node) { deleteNode(node); });
  else
    return c10::make_intrusive<Node>();
}

bool needs_gradient(const Layer& layer, const at::Tensor& hidden, const at::Tensor& encoder_states) {
  if (!at::GradMode::is_enabled()) return false;
  if (hidden.requires_grad() || (encoder_states.defined() && encoder_states.requires_grad())) return true;
  for (const at::Tensor& parameter : layer.parameters()) {
    if (parameter.requires_grad()) return true;
  }
  return false;
}

}  // namespace

LayerOutput checkpoint_layer(const std::shared_ptr<Layer>& layer, const at::Tensor& hidden,
                             const LayerInputs& inputs, const LayerContext& context) {
  if (!needs_gradient(*layer, hidden, inputs.encoder_states)) return layer->forward(hidden, inputs, context);
  const auto node = new_node<CheckpointNode>();
  node->layer = layer;
  node->hidden = hidden;
  node->inputs = inputs;
  node->context = context;
  node->context.tap = nullptr;
  node->random = random_state();
  node->precision = nn::HalfAutocast::state();
  node->set_next_edges(ag::collect_next_edges(hidden, inputs.encoder_states));

  LayerOutput output;
  {
    const at::NoGradGuard no_grad;
    output = layer->forward(hidden, inputs, context);
  }
  for (at::Tensor* result : {&output.hidden, &output.probabilities, &output.cross_probabilities}) {
    if (result->defined()) {
      ag::set_history(*result, node);
    } else {
      node->add_input_metadata(ag::Node::undefined_input{});
    }
  }
  return output;
}

}  // namespace qdqbert::model
