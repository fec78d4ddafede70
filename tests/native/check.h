// A test is a program that ends with status 1 if a check failed, having said which.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>

inline int failures = 0;

#define CHECK(condition, ...)                                             \
  do {                                                                    \
    if (!(condition)) {                                                   \
      failures++;                                                         \
      std::printf("%s:%d: %s:", __FILE__, __LINE__, #condition);         \
      std::printf(" " __VA_ARGS__);                                       \
      std::printf("\n");                                                  \
    }                                                                     \
  } while (0)

inline int finish(const char* name) {
  std::printf("%s: %s\n", name, failures == 0 ? "passed" : "FAILED");
  return failures == 0 ? 0 : 1;
}
