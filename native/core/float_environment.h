// Another addon may have set flush-to-zero on the calling thread; a row must not come out differently there.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace echo {

// Round to nearest, denormals kept, for as long as it lives.
class DefaultFloatEnvironment {
 public:
#if defined(__x86_64__)
  DefaultFloatEnvironment() : saved_(_mm_getcsr()) { _mm_setcsr(0x1f80); }
  ~DefaultFloatEnvironment() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#else
  DefaultFloatEnvironment() {}
  ~DefaultFloatEnvironment() {}
#endif
};

}  // namespace echo
