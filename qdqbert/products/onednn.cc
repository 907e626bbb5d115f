// The only file that knows oneDNN, of version 2 or 3.
#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <tuple>
#include <unordered_map>

#include <dlfcn.h>
#include <oneapi/dnnl/dnnl.hpp>

#include "qdqbert/base/cpu_features.h"
#include "qdqbert/base/error.h"
#include "qdqbert/base/math.h"
#include "qdqbert/products/packed_matmul.h"

namespace qdqbert::products {

namespace {

using DataType = dnnl::memory::data_type;

/// oneDNN asks the OpenMP runtime how many threads to use, thread by thread: the one that it is linked with,
/// which need not be LibTorch's.
struct OpenMp {
  void* onednn = dlopen(QDQBERT_ONEDNN_SONAME, RTLD_LAZY | RTLD_NOLOAD);
  int (*max_threads)() = reinterpret_cast<int (*)()>(dlsym(onednn, "omp_get_max_threads"));
  void (*set_threads)(int) = reinterpret_cast<void (*)(int)>(dlsym(onednn, "omp_set_num_threads"));
};

const OpenMp& open_mp() {
  static const OpenMp functions;
  return functions;
}

const dnnl::engine& cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

const dnnl::stream& stream_of_this_thread() {
  thread_local const dnnl::stream stream(cpu());
  return stream;
}

dnnl::memory::dim dim(size_t n) {
  return static_cast<dnnl::memory::dim>(n);
}

dnnl::memory::desc matrix(size_t rows, size_t columns, DataType type, size_t ld) {
  return {{dim(rows), dim(columns)}, type, dnnl::memory::dims{dim(ld), 1}};
}

/// Of the product of `operands`: a, b, the bias if there is one, c. Version 2 describes an operation before
/// its primitive, version 3 both at once.
template <class Matmul, class... Operands>
auto describe(const dnnl::primitive_attr& attributes, const Operands&... operands) {
  if constexpr (requires { typename Matmul::desc; })
    return typename Matmul::primitive_desc(typename Matmul::desc(operands...), attributes, cpu());
  else
    return typename Matmul::primitive_desc(cpu(), operands..., attributes);
}

void check(dnnl_status_t status, Shape s) {
  if (status != dnnl_success)
    fail<SystemError>("[oneDNN] the product of {} by {} and {} by {} failed (status {})", s.m, s.k, s.k, s.n,
                      static_cast<int>(status));
}

[[noreturn]] void fail_onednn(const dnnl::error& error) {
  fail<SystemError>("[oneDNN] {} (status {})", error.what(), static_cast<int>(error.status));
}

dnnl::memory borrow(const dnnl::memory::desc& description, const void* data) {
  return {description, cpu(), const_cast<void*>(data)};
}

constexpr size_t kTypicalRows = 64;

/// Primitives of products of bfloat16, kept by the thread that made them.
class BFloat16Products {
 public:
  void run(Shape s, Operand a, Operand b, const float* bias, float* c) {
    const Key key = {s.m, s.n, s.k, a.ld, a.transposed, b.ld, b.transposed, bias != nullptr};
    auto found = known_.find(key);
    if (found == known_.end()) {
      if (known_.size() >= kMostKnown) known_.clear();
      found = known_.emplace(key, make(s, a, b, bias != nullptr)).first;
    }
    Product& product = found->second;
    product.a.set_data_handle(const_cast<void*>(a.data));
    product.b.set_data_handle(const_cast<void*>(b.data));
    product.c.set_data_handle(c);
    std::unordered_map<int, dnnl::memory> arguments = {
        {DNNL_ARG_SRC, product.a}, {DNNL_ARG_WEIGHTS, product.b}, {DNNL_ARG_DST, product.c}};
    if (bias != nullptr) {
      product.bias.set_data_handle(const_cast<float*>(bias));
      arguments.emplace(DNNL_ARG_BIAS, product.bias);
    }
    product.primitive.execute(stream_, arguments);
    stream_.wait();
  }

 private:
  /// Lengths of texts vary, so shapes come and go.
  static constexpr size_t kMostKnown = 1024;
  using Key = std::array<int64_t, 8>;
  struct Product {
    dnnl::matmul primitive;
    dnnl::memory a, b, c, bias;
  };

  static dnnl::memory::desc layout(int64_t rows, int64_t columns, Operand x, DataType type) {
    return {{rows, columns}, type, x.transposed ? dnnl::memory::dims{1, x.ld} : dnnl::memory::dims{x.ld, 1}};
  }

  static Product make(Shape s, Operand a, Operand b, bool has_bias) {
    const auto of_a = layout(s.m, s.k, a, DataType::bf16), of_b = layout(s.k, s.n, b, DataType::bf16);
    const auto of_c = layout(s.m, s.n, {nullptr, s.n}, DataType::f32),
               of_bias = layout(1, s.n, {nullptr, s.n}, DataType::f32);
    const dnnl::primitive_attr attributes;
    const auto description = has_bias ? describe<dnnl::matmul>(attributes, of_a, of_b, of_bias, of_c)
                                      : describe<dnnl::matmul>(attributes, of_a, of_b, of_c);
    const auto nothing = [](const dnnl::memory::desc& shape) {
      return dnnl::memory(shape, cpu(), DNNL_MEMORY_NONE);
    };
    return {dnnl::matmul(description), nothing(of_a), nothing(of_b), nothing(of_c), nothing(of_bias)};
  }

  dnnl::stream stream_{cpu()};
  std::map<Key, Product> known_;
};

}  // namespace

std::string_view backend() {
  return "oneDNN";
}

bool are_fast() {
  return true;
}

bool bfloat16_is_fast() {
  return cpu_features().avx512_bf16;
}

OneThread::OneThread() : before_(open_mp().max_threads ? open_mp().max_threads() : 1) {
  if (before_ != 1 && open_mp().set_threads) open_mp().set_threads(1);
}

OneThread::~OneThread() {
  if (before_ != 1 && open_mp().set_threads) open_mp().set_threads(before_);
}

struct PackedMatmul::Shape {
  dnnl::matmul product;
  dnnl::memory::desc a, c, scratch;
  dnnl::reorder round;         ///< float32 rows to bfloat16
  dnnl::memory::desc rounded;  ///< empty in float32
  size_t rounded_bytes = 0;    ///< a multiple of 64
  size_t rows = 0, ldc = 0;
  /// Room for a single column of results, a multiple of 64; 0: they are written where they belong. oneDNN 3
  /// writes one column as if its rows lay side by side, whatever their stride.
  size_t column_bytes = 0;
};

struct PackedMatmul::State {
  size_t k = 0, n = 0;
  DataType type = DataType::f32;
  dnnl::memory weight;
  dnnl::memory bias;  ///< empty: none
  std::string name;
  std::shared_mutex mutex;
  std::map<std::tuple<size_t, size_t, size_t>, std::shared_ptr<const Shape>> shapes;

  dnnl::matmul::primitive_desc describe(size_t rows, size_t lda, size_t ldc,
                                        const dnnl::memory::desc& weights) const {
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const dnnl::memory::desc a = matrix(rows, k, type, lda), c = matrix(rows, n, DataType::f32, ldc);
    return bias ? products::describe<dnnl::matmul>(attributes, a, weights, bias.get_desc(), c)
                : products::describe<dnnl::matmul>(attributes, a, weights, c);
  }
};

PackedMatmul::PackedMatmul(const FloatWeight& weight, const float* bias, Precision precision)
    : state_(std::make_unique<State>()) {
  const OneThread one;
  State& s = *state_;
  s.k = weight.k;
  s.n = weight.n;
  s.type = precision == Precision::kBFloat16 ? DataType::bf16 : DataType::f32;
  try {
    if (bias) {
      s.bias = dnnl::memory(matrix(1, s.n, DataType::f32, s.n), cpu());
      std::copy_n(bias, s.n, static_cast<float*>(s.bias.get_data_handle()));
    }
    const dnnl::memory::desc any({dim(s.k), dim(s.n)}, s.type, dnnl::memory::format_tag::any);
    const auto typical = s.describe(kTypicalRows, s.k, s.n, any);
    s.weight = dnnl::memory(typical.weights_desc(), cpu());
    s.name = std::string("oneDNN ") + (s.type == DataType::bf16 ? "bf16" : "f32") + " (" +
             typical.impl_info_str() + ")";
    dnnl::memory source = borrow(
        {{dim(s.k), dim(s.n)}, DataType::f32, {dim(weight.k_stride), dim(weight.n_stride)}}, weight.data);
    dnnl::reorder(source, s.weight).execute(stream_of_this_thread(), source, s.weight);
  } catch (const dnnl::error& error) {
    fail_onednn(error);
  }
}

PackedMatmul::~PackedMatmul() = default;
PackedMatmul::PackedMatmul(PackedMatmul&&) noexcept = default;
PackedMatmul& PackedMatmul::operator=(PackedMatmul&&) noexcept = default;

std::shared_ptr<const PackedMatmul::Shape> PackedMatmul::shape(size_t rows, size_t lda, size_t ldc) const {
  State& s = *state_;
  const std::tuple key(rows, lda, ldc);
  {
    const std::shared_lock lock(s.mutex);
    if (const auto found = s.shapes.find(key); found != s.shapes.end()) return found->second;
  }
  const OneThread one;
  auto made = std::make_shared<Shape>();
  try {
    made->a = matrix(rows, s.k, DataType::f32, lda);
    made->c = matrix(rows, s.n, DataType::f32, ldc);
    size_t ld = lda;
    if (s.type == DataType::bf16) {
      ld = s.k;
      made->rounded = matrix(rows, s.k, DataType::bf16, ld);
      made->rounded_bytes = round_up(made->rounded.get_size(), 64);
      made->round = dnnl::reorder(dnnl::reorder::primitive_desc(cpu(), made->a, cpu(), made->rounded));
    }
    made->rows = rows;
    made->ldc = ldc;
    if (s.n == 1 && ldc > 1) {
      made->column_bytes = round_up(rows * sizeof(float), 64);
      made->c = matrix(rows, 1, DataType::f32, 1);
    }
    const auto description = s.describe(rows, ld, made->column_bytes > 0 ? 1 : ldc, s.weight.get_desc());
    made->scratch = description.scratchpad_desc();
    made->product = dnnl::matmul(description);
  } catch (const dnnl::error& error) {
    fail_onednn(error);
  }
  const std::unique_lock lock(s.mutex);
  return s.shapes.emplace(key, std::move(made)).first->second;
}

size_t PackedMatmul::scratch_bytes(const Shape& shape) const {
  return shape.rounded_bytes + shape.column_bytes + shape.scratch.get_size();
}

void PackedMatmul::multiply(const Shape& shape, const float* a, float* c, std::byte* scratch) const {
  try {
    const dnnl::stream& stream = stream_of_this_thread();
    auto* const column = reinterpret_cast<float*>(scratch + shape.rounded_bytes);
    dnnl::memory source = borrow(shape.a, a);
    if (shape.rounded_bytes > 0) {
      dnnl::memory rounded = borrow(shape.rounded, scratch);
      shape.round.execute(stream, source, rounded);
      source = rounded;
    }
    std::unordered_map<int, dnnl::memory> arguments{
        {DNNL_ARG_SRC, source},
        {DNNL_ARG_WEIGHTS, state_->weight},
        {DNNL_ARG_DST, borrow(shape.c, shape.column_bytes > 0 ? column : c)},
        {DNNL_ARG_SCRATCHPAD, borrow(shape.scratch, scratch + shape.rounded_bytes + shape.column_bytes)}};
    if (state_->bias) arguments.emplace(DNNL_ARG_BIAS, state_->bias);
    shape.product.execute(stream, arguments);
    if (shape.column_bytes > 0)
      for (size_t m = 0; m < shape.rows; ++m) c[m * shape.ldc] = column[m];
  } catch (const dnnl::error& error) {
    fail_onednn(error);
  }
}

std::string PackedMatmul::name() const {
  return state_->name;
}

size_t PackedMatmul::bytes() const {
  return state_->weight.get_desc().get_size();
}

void multiply(Shape s, Operand a, Operand b, float factor, bool adds, float* c, int64_t ldc) {
  check(dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', s.m, s.n, s.k, factor,
                   static_cast<const float*>(a.data), a.ld, static_cast<const float*>(b.data), b.ld,
                   adds ? 1.0f : 0.0f, c, ldc),
        s);
}

void multiply_bfloat16(Shape s, Operand a, Operand b, const float* bias, float* c) {
  thread_local BFloat16Products products;
  try {
    products.run(s, a, b, bias, c);
  } catch (const dnnl::error& error) {
    check(error.status, s);
  }
}

}  // namespace qdqbert::products
