// The matrix product by itself, for bench/gemm.ts and its test.
#include "../model/gemm.h"

#include "checked.h"
#include "register.h"

namespace echo::addon {
namespace {

constexpr int64_t most = 1 << 24;

Napi::Value packed_size(const Napi::CallbackInfo& info) {
  int64_t k = 0, n = 0;
  if (!take_integer(info[0], "k", 0, most, k) || !take_integer(info[1], "n", 0, most, n)) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), static_cast<double>(gemm_packed_size(k, n)));
}

// gemmPack(source, transposed, k, n, packed)
void pack(const Napi::CallbackInfo& info) {
  int64_t k = 0, n = 0;
  View<float> source, packed;
  if (!take_integer(info[2], "k", 0, most, k) || !take_integer(info[3], "n", 0, most, n) ||
      !take(info[0], "source", k * n, source) || !take(info[4], "packed", gemm_packed_size(k, n), packed))
    return;
  const bool transposed = info[1].ToBoolean().Value();
  gemm_pack(source.data, transposed ? k : n, transposed, k, n, packed.data);
}

// gemm(m, n, k, a, aTransposed, b, bPacked, c, accumulate)
void product(const Napi::CallbackInfo& info) {
  int64_t m = 0, n = 0, k = 0;
  View<float> a, b, c;
  const bool a_transposed = info[4].ToBoolean().Value(), b_packed = info[6].ToBoolean().Value();
  if (!take_integer(info[0], "m", 0, most, m) || !take_integer(info[1], "n", 0, most, n) || !take_integer(info[2], "k", 0, most, k) ||
      !take(info[3], "a", m * k, a) || !take(info[5], "b", b_packed ? gemm_packed_size(k, n) : k * n, b) ||
      !take(info[7], "c", m * n, c))
    return;
  gemm({m, n, k, a.data, a_transposed ? m : k, a_transposed, b.data, n, b_packed, c.data, n, info[8].ToBoolean().Value()});
}

}  // namespace

void register_gemm(Napi::Env env, Napi::Object exports) {
  exports.Set("gemmPackedSize", Napi::Function::New(env, packed_size, "gemmPackedSize"));
  exports.Set("gemmPack", Napi::Function::New(env, pack, "gemmPack"));
  exports.Set("gemm", Napi::Function::New(env, product, "gemm"));
}

}  // namespace echo::addon
