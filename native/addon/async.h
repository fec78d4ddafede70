// How a JavaScript environment (the main thread, a worker) hands jobs to the dispatcher and hears of their end.
#pragma once

#include <napi.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include "../core/dispatcher.h"
#include "../core/status.h"
#include "../cuda/api.h"
#include "checked.h"

namespace echo::addon {

class AsyncEnvironment;

// Everything a job reads and writes is its own or kept alive by it: the caller may do with its arrays what it likes.
class AsyncJob : public DispatchedJob {
 public:
  explicit AsyncJob(AsyncEnvironment& environment);
  void finish() final;

  // On the environment's thread, after `run`: calls `done`. JavaScript may be forbidden by then; failures are left alone.
  virtual void deliver(Napi::Env env) = 0;

 protected:
  // done(code, message) of a failure that `run` met, here or in the CUDA library.
  void fail(Napi::Env env, const char* where, Status status, const CudaFailure& failure = {});

  Napi::FunctionReference done_;

 private:
  friend class AsyncEnvironment;
  AsyncEnvironment& environment_;
  double ticket_ = 0;
  AsyncJob* next_ = nullptr;       // in the environment's list of all its jobs
  AsyncJob* next_done_ = nullptr;  // among those that have ended
};

// One for each environment that has loaded the addon; lives as long as that.
class AsyncEnvironment {
 public:
  static AsyncEnvironment& of(Napi::Env env) { return *env.GetInstanceData<AsyncEnvironment>(); }

  // Queues the job and returns its ticket as a number; undefined after throwing.
  Napi::Value submit(Napi::Env env, std::unique_ptr<AsyncJob> job, Napi::Function done);

  // True: the job of the ticket had not begun and is forgotten; `done` will not be called.
  bool take_back(Napi::Env env, double ticket);

 private:
  friend class AsyncJob;
  bool open(Napi::Env env);
  void close();
  void forget(Napi::Env env, AsyncJob* job);
  void push_done(AsyncJob* job);
  AsyncJob* pop_done();
  static void on_done(napi_env env, napi_value, void* self, void*);

  napi_threadsafe_function wake_ = nullptr;
  AsyncJob* jobs_ = nullptr;  // queued, running or ended; in the order of their tickets
  double tickets_ = 0;
  std::mutex mutex_;  // guards the two below
  AsyncJob* done_ = nullptr;
  AsyncJob** done_end_ = &done_;
};

// Prepares a job from a call whose argument `done_index` is `done`, and queues it. The ticket, or undefined after throwing.
template <typename Job>
Napi::Value submit_job(const Napi::CallbackInfo& info, size_t done_index) {
  const Napi::Env env = info.Env();
  AsyncEnvironment& environment = AsyncEnvironment::of(env);
  std::unique_ptr<Job> job(new (std::nothrow) Job(environment));
  if (job == nullptr) {
    check_status(env, "echo-grpo", Status::out_of_memory);
    return env.Undefined();
  }
  if (!job->prepare(info)) return env.Undefined();
  if (!info[done_index].IsFunction()) {
    throw_error(env, "ERR_INVALID_TYPE", "[native] done: expected a function.");
    return env.Undefined();
  }
  return environment.submit(env, std::move(job), info[done_index].As<Napi::Function>());
}

}  // namespace echo::addon
