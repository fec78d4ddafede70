// Storage types of tensors. Arithmetic is float32 throughout.
#pragma once

#include <cstdint>

namespace echo {

enum class Dtype : int32_t { float32 = 0, bfloat16 = 1, float16 = 2 };

inline int64_t dtype_size(Dtype dtype) { return dtype == Dtype::float32 ? 4 : 2; }

}  // namespace echo
