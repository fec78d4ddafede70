// parallel_for over single items with a callable instead of a function and a context.
#pragma once

#include <type_traits>

#include "../core/thread_pool.h"

namespace echo {

// function(item, worker) for item = 0 .. n - 1, on any worker, in any order.
template <typename Function>
void parallel(int64_t n, Function&& function) {
  using Plain = typename std::remove_reference<Function>::type;
  struct Call {
    static void run(void* context, int64_t begin, int64_t end, int worker) {
      Plain& f = *static_cast<Plain*>(context);
      for (int64_t i = begin; i < end; i++) f(i, worker);
    }
  };
  if (n > 0) parallel_for(n, 1, Call::run, const_cast<void*>(static_cast<const void*>(&function)));
}

}  // namespace echo
