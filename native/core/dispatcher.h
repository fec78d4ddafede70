// One thread for the process that runs long jobs away from the threads that ask for them: first in, first out, started by the first job.
#pragma once

namespace echo {

// A job and its place in the queue. Whoever made it keeps it until `finish` was called, or until it is out of the queue again.
class DispatchedJob {
 public:
  explicit DispatchedJob(const void* owner) : owner_(owner) {}
  DispatchedJob(const DispatchedJob&) = delete;
  DispatchedJob& operator=(const DispatchedJob&) = delete;
  virtual ~DispatchedJob() = default;

  // On the dispatcher's thread, one job of the process at a time, in the default floating-point environment.
  virtual void run() = 0;
  // On the same thread after `run`. The dispatcher does not touch the job any more: another thread may delete it at once.
  virtual void finish() = 0;

 private:
  friend class Dispatcher;
  const void* owner_;
  DispatchedJob* next_ = nullptr;
};

// False when the system gives no thread: the job is not queued.
bool dispatch(DispatchedJob* job);

// True: the job had not begun, is out of the queue and will not run. False: it runs, or is over.
bool take_back(DispatchedJob* job);

// Takes all jobs of an owner out of the queue and waits for the one of them that runs, its `finish` included. Other owners' jobs go on.
void drop_jobs(const void* owner);

// No job runs while one of these lives; making it waits for the one that does. Jobs are still queued.
class DispatcherPause {
 public:
  DispatcherPause();
  ~DispatcherPause();
  DispatcherPause(const DispatcherPause&) = delete;
  DispatcherPause& operator=(const DispatcherPause&) = delete;
};

// Ends and joins the thread, after what is queued; the next job starts it again. To be called before the library is unloaded.
void stop_dispatcher();

}  // namespace echo
