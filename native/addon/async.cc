#include "async.h"

#include <utility>

#include "checked.h"
#include "register.h"

namespace echo::addon {

AsyncJob::AsyncJob(AsyncEnvironment& environment) : DispatchedJob(&environment), environment_(environment) {}

void AsyncJob::finish() { environment_.push_done(this); }

void AsyncJob::fail(Napi::Env env, const char* where, Status status, const CudaFailure& failure) {
  const StatusError error = failure.status == Status::ok ? status_error(where, status) : cuda_error(where, status, failure);
  done_.Call({Napi::String::New(env, error.code), Napi::String::New(env, error.message)});
}

Napi::Value AsyncEnvironment::submit(Napi::Env env, std::unique_ptr<AsyncJob> job, Napi::Function done) {
  if (!open(env)) {
    throw_error(env, "ERR_NATIVE_STATUS", "[native] the dispatcher: no thread-safe function.");
    return env.Undefined();
  }
  job->done_ = Napi::Persistent(done);
  const double ticket = job->ticket_ = ++tickets_;
  AsyncJob** last = &jobs_;
  while (*last != nullptr) last = &(*last)->next_;
  *last = job.get();
  // From here on the process stays alive for the job.
  if (jobs_ == job.get()) napi_ref_threadsafe_function(env, wake_);
  if (!dispatch(job.get())) {
    forget(env, job.release());
    throw_error(env, "ERR_NATIVE_STATUS", "[native] the dispatcher: the system gives no thread.");
    return env.Undefined();
  }
  job.release();
  return Napi::Number::New(env, ticket);
}

bool AsyncEnvironment::take_back(Napi::Env env, double ticket) {
  AsyncJob* job = jobs_;
  while (job != nullptr && job->ticket_ != ticket) job = job->next_;
  if (job == nullptr || !echo::take_back(job)) return false;
  forget(env, job);
  return true;
}

bool AsyncEnvironment::open(Napi::Env env) {
  if (wake_ != nullptr) return true;
  if (napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "echo-grpo"), 0, 1, nullptr, nullptr, this, on_done,
                                      &wake_) != napi_ok) {
    wake_ = nullptr;
    return false;
  }
  // An idle dispatcher keeps no process alive.
  napi_unref_threadsafe_function(env, wake_);
  // Hooks run in reverse order: this one before the thread-safe function's own, after which nothing may call it.
  env.AddCleanupHook([](AsyncEnvironment* self) { self->close(); }, this);
  return true;
}

void AsyncEnvironment::close() {
  drop_jobs(this);
  wake_ = nullptr;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    done_ = nullptr;
    done_end_ = &done_;
  }
  while (jobs_ != nullptr) delete std::exchange(jobs_, jobs_->next_);
}

void AsyncEnvironment::forget(Napi::Env env, AsyncJob* job) {
  AsyncJob** at = &jobs_;
  while (*at != job) at = &(*at)->next_;
  *at = job->next_;
  delete job;
  if (jobs_ == nullptr) napi_unref_threadsafe_function(env, wake_);
}

void AsyncEnvironment::push_done(AsyncJob* job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    *done_end_ = job;
    done_end_ = &job->next_done_;
  }
  napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
}

AsyncJob* AsyncEnvironment::pop_done() {
  const std::lock_guard<std::mutex> lock(mutex_);
  AsyncJob* const job = done_;
  if (job == nullptr) return nullptr;
  done_ = job->next_done_;
  if (done_ == nullptr) done_end_ = &done_;
  return job;
}

// Once for each job that ended, so that what waits for the first goes on before the second is delivered.
void AsyncEnvironment::on_done(napi_env env, napi_value, void* self, void*) {
  if (env == nullptr) return;
  AsyncEnvironment& environment = *static_cast<AsyncEnvironment*>(self);
  AsyncJob* const job = environment.pop_done();
  if (job == nullptr) return;
  job->deliver(env);
  environment.forget(env, job);
}

namespace {

Napi::Value take_back_call(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  double ticket = 0;
  if (!take_number(info[0], "ticket", ticket)) return env.Undefined();
  return Napi::Boolean::New(env, AsyncEnvironment::of(env).take_back(env, ticket));
}

}  // namespace

void register_async(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new AsyncEnvironment());
  exports.Set("takeBack", Napi::Function::New(env, take_back_call, "takeBack"));
}

}  // namespace echo::addon
