// AdamW and the gradient norm against float64, against guard pages, and across tiers and thread counts.
#include <cstring>
#include <random>
#include <vector>

#include "../../native/core/isa.h"
#include "../../native/core/thread_pool.h"
#include "../../native/optim/adamw.h"
#include "../../native/optim/grad_norm.h"
#include "check.h"
#include "guarded.h"

using echo::Isa;
using echo::Status;

namespace {

void one_tensor(std::size_t n, Guarded<float>::Against side) {
  std::mt19937 generator(static_cast<unsigned>(n));
  std::normal_distribution<double> normal;
  Guarded<float> p(n, side), g(n, side), m(n, side), v(n, side);
  std::vector<double> P(n), G(n), M(n), V(n);
  for (std::size_t j = 0; j < n; j++) {
    P[j] = p[j] = static_cast<float>(normal(generator));
    M[j] = m[j] = static_cast<float>(0.1 * normal(generator));
    V[j] = v[j] = static_cast<float>(std::fabs(0.01 * normal(generator)));
    G[j] = g[j] = static_cast<float>(normal(generator));
  }
  g.forbid_writing();

  double square = 0;
  for (const double x : G) square += x * x;
  const echo::GradTensor gradient{g.data(), static_cast<int64_t>(n)};
  double norm = -1;
  CHECK(echo::grad_norm(&gradient, 1, &norm) == Status::ok);
  CHECK(std::fabs(norm - std::sqrt(square)) <= 1e-12 * norm);

  const double lr = 0.01, b1 = 0.9, b2 = 0.95, eps = 1e-8, wd = 0.1, clip = 0.5;
  const int64_t step = 7;
  const echo::AdamWTensor tensor{p.data(), g.data(), m.data(), v.data(), static_cast<int64_t>(n), wd};
  CHECK(echo::adamw_step({&tensor, 1, lr, b1, b2, eps, clip, step}) == Status::ok);
  for (std::size_t j = 0; j < n; j++) {
    const double d = clip * G[j];
    M[j] = b1 * M[j] + (1 - b1) * d;
    V[j] = b2 * V[j] + (1 - b2) * d * d;
    const double root = std::sqrt(V[j] / (1 - std::pow(b2, step))) + eps;
    P[j] = P[j] * (1 - lr * wd) - lr * M[j] / (1 - std::pow(b1, step)) / root;
    CHECK(std::fabs(p[j] - P[j]) < 3e-7 * (std::fabs(P[j]) + 0.1), "element %zu of %zu: %.9g, expected %.9g", j, n, p[j], P[j]);
    CHECK(std::fabs(m[j] - M[j]) < 3e-7 * (std::fabs(M[j]) + 0.1) && std::fabs(v[j] - V[j]) < 3e-7 * (V[j] + 0.1));
  }
}

void many_tensors() {
  const std::vector<int64_t> sizes = {0, 1, 16384, 0, 16385, 3, 50000, 0};
  std::vector<std::vector<float>> grads;
  std::vector<echo::GradTensor> tensors;
  double square = 0;
  for (const int64_t size : sizes) {
    grads.emplace_back(static_cast<std::size_t>(size));
    for (std::size_t j = 0; j < grads.back().size(); j++) {
      grads.back()[j] = std::sin(static_cast<float>(j + size));
      square += static_cast<double>(grads.back()[j]) * grads.back()[j];
    }
  }
  for (const auto& grad : grads) tensors.push_back({grad.data(), static_cast<int64_t>(grad.size())});
  double first = 0;
  for (const int threads : {1, 2, 3, 8}) {
    echo::set_thread_count(threads);
    double norm = 0;
    CHECK(echo::grad_norm(tensors.data(), static_cast<int64_t>(tensors.size()), &norm) == Status::ok);
    if (threads == 1) first = norm;
    CHECK(norm == first && std::fabs(norm - std::sqrt(square)) < 1e-11 * norm);
  }
  double none = 1;
  CHECK(echo::grad_norm(nullptr, 0, &none) == Status::ok && none == 0);
  CHECK(echo::adamw_step({nullptr, 0, 1, 0.9, 0.9, 1e-8, 1, 1}) == Status::ok);
  CHECK(echo::adamw_step({nullptr, 0, 1, 0.9, 0.9, 1e-8, 1, 0}) == Status::invalid_argument);
  CHECK(echo::grad_norm(nullptr, 0, nullptr) == Status::invalid_argument);
  grads[6][49999] = NAN;
  CHECK(echo::grad_norm(tensors.data(), static_cast<int64_t>(tensors.size()), &none) == Status::ok && std::isnan(none));
}

}  // namespace

int main() {
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (!echo::set_active_isa(isa)) {
      std::printf("NOT VERIFIED: tier %s, which this machine does not have\n", echo::isa_name(isa));
      continue;
    }
    for (const auto side : {Guarded<float>::Against::end, Guarded<float>::Against::begin})
      for (const std::size_t n : {0, 1, 3, 4, 7, 8, 15, 16, 17, 31, 33, 1000, 16384, 16387}) one_tensor(n, side);
    many_tensors();
  }
  echo::stop_threads();
  return finish("optim_test");
}
