// pthread_create with a stack that holds the blocks of a matrix product: musl's default, 128 KiB, does not.
#pragma once

#include <pthread.h>

#include <cstddef>

namespace echo {

inline int start_thread(pthread_t* thread, void* (*main)(void*), void* argument) {
  constexpr size_t least = size_t{1} << 20;
  pthread_attr_t attributes;
  const int status = pthread_attr_init(&attributes);
  if (status != 0) return status;
  size_t size = 0;
  if (pthread_attr_getstacksize(&attributes, &size) == 0 && size < least) pthread_attr_setstacksize(&attributes, least);
  const int created = pthread_create(thread, &attributes, main, argument);
  pthread_attr_destroy(&attributes);
  return created;
}

}  // namespace echo
