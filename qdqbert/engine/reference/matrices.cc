// Matrix products, summed with K ascending.
#include <algorithm>

#include "qdqbert/engine/reference/table.h"

namespace qdqbert::engine::reference {

namespace {

/// Where the matrices of a broadcast product lie.
struct Batches {
  Shape shape;  ///< of the result, matrix axes included
  size_t m = 0, k = 0, n = 0;
  std::vector<std::pair<size_t, size_t>> offsets;  ///< of the operands' matrices, in elements
};

Batches batches_of(const Node& node, Shape a, Shape b) {
  if (a.empty() || b.empty()) fail_node(node, "an operand is a single number");
  const bool is_row = a.size() == 1, is_column = b.size() == 1;
  if (is_row) a.insert(a.begin(), 1);
  if (is_column) b.push_back(1);
  Batches out;
  out.m = static_cast<size_t>(a[a.size() - 2]);
  out.k = static_cast<size_t>(a.back());
  out.n = static_cast<size_t>(b.back());
  if (a.back() != b[b.size() - 2])
    fail_node(node, "operands of shapes {} and {} do not fit each other", to_string(a), to_string(b));
  const Shape left(a.begin(), a.end() - 2), right(b.begin(), b.end() - 2);
  out.shape = broadcast_shape(node, left, right);
  BroadcastIndex i(left, out.shape), j(right, out.shape);
  const int64_t count = element_count(out.shape);
  for (int64_t c = 0; c < count; ++c, i.advance(), j.advance())
    out.offsets.emplace_back(*i * out.m * out.k, *j * out.k * out.n);
  if (!is_row) out.shape.push_back(static_cast<int64_t>(out.m));
  if (!is_column) out.shape.push_back(static_cast<int64_t>(out.n));
  return out;
}

template <class A, class B, class C>
void multiply(const A* a, const B* b, C* c, const Batches& sizes) {
  std::fill(c, c + sizes.m * sizes.n, C{0});
  for (size_t i = 0; i < sizes.m; ++i)
    for (size_t k = 0; k < sizes.k; ++k) {
      const C x = static_cast<C>(a[i * sizes.k + k]);
      const B* row = b + k * sizes.n;
      C* to = c + i * sizes.n;
      for (size_t j = 0; j < sizes.n; ++j) to[j] += x * static_cast<C>(row[j]);
    }
}

std::vector<Tensor> matmul(const Node& n, Inputs in) {
  const Tensor a = as_float(n, *in[0]), b = as_float(n, *in[1]);
  const Batches sizes = batches_of(n, a.shape, b.shape);
  WritableTensor out = new_tensor(n, DType::kF32, sizes.shape);
  for (size_t i = 0; i < sizes.offsets.size(); ++i)
    multiply(a.as<float>().data() + sizes.offsets[i].first, b.as<float>().data() + sizes.offsets[i].second,
             out.as<float>() + i * sizes.m * sizes.n, sizes);
  return {like(n, out.tensor, in[0]->dtype)};
}

Tensor swapped(const Node& n, const Tensor& x) {
  if (x.shape.size() != 2) fail_node(n, "an operand of shape {} is no matrix", to_string(x.shape));
  const auto rows = static_cast<size_t>(x.shape[0]), columns = static_cast<size_t>(x.shape[1]);
  WritableTensor out = new_tensor(n, DType::kF32, {x.shape[1], x.shape[0]});
  for (size_t i = 0; i < rows; ++i)
    for (size_t j = 0; j < columns; ++j) out.as<float>()[j * rows + i] = x.as<float>()[i * columns + j];
  return out.tensor;
}

std::vector<Tensor> gemm(const Node& n, Inputs in) {
  Tensor a = as_float(n, *in[0]), b = as_float(n, *in[1]);
  if (n.integer("transA", 0) != 0) a = swapped(n, a);
  if (n.integer("transB", 0) != 0) b = swapped(n, b);
  if (a.shape.size() != 2 || b.shape.size() != 2) fail_node(n, "operands that are no matrices");
  const Batches sizes = batches_of(n, a.shape, b.shape);
  WritableTensor out = new_tensor(n, DType::kF32, sizes.shape);
  multiply(a.as<float>().data(), b.as<float>().data(), out.as<float>(), sizes);
  const float alpha = n.real("alpha", 1), beta = n.real("beta", 1);
  const size_t count = sizes.m * sizes.n;
  for (size_t i = 0; i < count; ++i) out.as<float>()[i] *= alpha;
  if (const Tensor* given = optional_input(in, 2)) {
    const Tensor c = as_float(n, *given);
    if (broadcast_shape(n, c.shape, sizes.shape) != sizes.shape)
      fail_node(n, "a bias of shape {} for {}", to_string(c.shape), to_string(sizes.shape));
    BroadcastIndex from(c.shape, sizes.shape);
    for (size_t i = 0; i < count; ++i, from.advance()) out.as<float>()[i] += beta * c.as<float>()[*from];
  }
  return {like(n, out.tensor, in[0]->dtype)};
}

/// Two operands in one equation of letters without repetition within an operand, e.g. "bhld,lrd->bhlr".
std::vector<Tensor> einsum(const Node& n, Inputs in) {
  std::string equation;
  for (const char c : n.text("equation", ""))
    if (c != ' ') equation += c;
  const size_t comma = equation.find(','), arrow = equation.find("->");
  if (comma == std::string::npos || arrow == std::string::npos || comma > arrow || in.size() != 2 || !in[1])
    fail_node(n, "only equations of two operands are known, not \"{}\"", equation);
  const std::string names[3] = {equation.substr(0, comma), equation.substr(comma + 1, arrow - comma - 1),
                                equation.substr(arrow + 2)};
  // Letters of the result first, then the summed ones.
  std::string letters = names[2];
  for (const char c : names[0] + names[1])
    if (letters.find(c) == std::string::npos) letters += c;
  std::vector<size_t> size(letters.size(), 0), strides[3];
  const Tensor operands[2] = {as_float(n, *in[0]), as_float(n, *in[1])};
  for (size_t o = 0; o < 2; ++o) {
    const Shape& shape = operands[o].shape;
    if (names[o].size() != shape.size()) fail_node(n, "\"{}\" for shape {}", names[o], to_string(shape));
    strides[o].assign(letters.size(), 0);
    size_t stride = 1;
    for (size_t i = shape.size(); i-- > 0;) {
      const size_t letter = letters.find(names[o][i]);
      if (names[o].find(names[o][i]) != i || names[o][i] < 'A') fail_node(n, "\"{}\" is not known", equation);
      if (size[letter] != 0 && size[letter] != static_cast<size_t>(shape[i]))
        fail_node(n, "{} has sizes {} and {}", names[o][i], size[letter], shape[i]);
      size[letter] = static_cast<size_t>(shape[i]);
      strides[o][letter] = stride;
      stride *= size[letter];
    }
  }
  Shape shape;
  for (size_t i = 0; i < names[2].size(); ++i) {
    if (names[2].find(names[2][i]) != i || strides[0][i] + strides[1][i] == 0)
      fail_node(n, "\"{}\" is not known", equation);
    shape.push_back(static_cast<int64_t>(size[i]));
  }
  WritableTensor out = new_tensor(n, DType::kF32, shape);
  const auto count = static_cast<size_t>(out.tensor.count());
  size_t summed = 1;
  for (size_t i = names[2].size(); i < letters.size(); ++i) summed *= size[i];
  const auto offsets = [&](size_t index, size_t begin, size_t end, size_t& a, size_t& b) {
    for (size_t i = end; i-- > begin;) {
      a += index % size[i] * strides[0][i];
      b += index % size[i] * strides[1][i];
      index /= size[i];
    }
  };
  const float *x = operands[0].as<float>().data(), *y = operands[1].as<float>().data();
  for (size_t r = 0; r < count; ++r) {
    size_t a = 0, b = 0;
    offsets(r, 0, names[2].size(), a, b);
    float sum = 0;
    for (size_t s = 0; s < summed; ++s) {
      size_t i = a, j = b;
      offsets(s, names[2].size(), letters.size(), i, j);
      sum += x[i] * y[j];
    }
    out.as<float>()[r] = sum;
  }
  return {like(n, out.tensor, in[0]->dtype)};
}

constexpr Operator kOperators[] = {
    {"Einsum", 1, 2, einsum},
    {"MatMul", 2, 2, matmul},
    {"Gemm", 2, 3, gemm},
};

}  // namespace

Tensor integer_product(const Node& n, const Tensor& a, const Tensor& b) {
  const Batches sizes = batches_of(n, a.shape, b.shape);
  // Codes minus zero points are below 2^8 each.
  if (sizes.k >= size_t{1} << 15) fail_node(n, "sums of {} products may overflow 32 bits", sizes.k);
  WritableTensor out = new_tensor(n, DType::kI32, sizes.shape);
  for (size_t i = 0; i < sizes.offsets.size(); ++i)
    multiply(a.as<int32_t>().data() + sizes.offsets[i].first,
             b.as<int32_t>().data() + sizes.offsets[i].second, out.as<int32_t>() + i * sizes.m * sizes.n,
             sizes);
  return out.tensor;
}

std::span<const Operator> matrix_operators() {
  return kOperators;
}

}  // namespace qdqbert::engine::reference
