#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace echo {
namespace {

// Own declarations: <linux/landlock.h> is younger than some systems we build on.
constexpr long kLandlockCreate = 444, kLandlockAddRule = 445, kLandlockRestrict = 446;
struct RulesetAttributes {
  uint64_t handled_filesystem;
  uint64_t handled_network;
  uint64_t scoped;
};
struct __attribute__((packed)) PathRule {
  uint64_t allowed;
  int32_t parent_fd;
};
constexpr uint64_t kExecute = 1 << 0, kReadFile = 1 << 2, kReadDirectory = 1 << 3, kWriteFile = 1 << 1;
constexpr uint64_t kRefer = 1 << 13, kTruncate = 1 << 14, kDeviceIoctl = 1 << 15;
constexpr uint64_t kMakeCharacterDevice = 1 << 6, kMakeBlockDevice = 1 << 11;
constexpr uint64_t kFirstVersion = (1 << 13) - 1;

uint64_t handled_filesystem(int version) {
  return kFirstVersion | (version >= 2 ? kRefer : 0) | (version >= 3 ? kTruncate : 0) |
         (version >= 5 ? kDeviceIoctl : 0);
}

void allow(int ruleset, const char* path, uint64_t rights) {
  int fd = open(path, O_PATH | O_CLOEXEC);
  if (fd < 0) return;
  struct stat info;
  if (fstat(fd, &info) == 0) {
    // A rule on a file may hold only rights that a file can have.
    if (!S_ISDIR(info.st_mode)) rights &= kExecute | kReadFile | kWriteFile | kTruncate;
    PathRule rule = {rights, fd};
    syscall(kLandlockAddRule, ruleset, 1, &rule, 0);
  }
  close(fd);
}

}  // namespace

int landlock_version() {
  long version = syscall(kLandlockCreate, nullptr, 0, 1);
  return version < 0 ? 0 : static_cast<int>(version);
}

int make_landlock_ruleset(const char* const* readable, const char* const* writable) {
  int version = landlock_version();
  if (version == 0) return -1;
  uint64_t handled = handled_filesystem(version);
  RulesetAttributes attributes = {handled, 3, 3};
  size_t size = version >= 6 ? 24 : version >= 4 ? 16 : 8;
  int ruleset = static_cast<int>(syscall(kLandlockCreate, &attributes, size, 0));
  if (ruleset < 0) return -1;
  for (; *readable != nullptr; readable++) allow(ruleset, *readable, kExecute | kReadFile | kReadDirectory);
  uint64_t change = handled & ~(kMakeCharacterDevice | kMakeBlockDevice | kDeviceIoctl);
  for (; *writable != nullptr; writable++) allow(ruleset, *writable, change);
  return ruleset;
}

bool apply_landlock(int ruleset) { return syscall(kLandlockRestrict, ruleset, 0) == 0; }

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#endif

#if defined(__x86_64__) || defined(__aarch64__)

namespace {

constexpr uint32_t kNewNamespaces = 0x7E020080;  // CLONE_NEW*
constexpr uint32_t kRefuse = SECCOMP_RET_ERRNO | EPERM;

#define ECHO_LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ECHO_REFUSE_CALL(number) \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, kRefuse)

const sock_filter kFilter[] = {
    ECHO_LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, kRefuse),
    ECHO_LOAD(nr),
#if defined(__x86_64__)
    // The x32 calls have the same meaning under other numbers.
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, kRefuse),
#endif
    ECHO_REFUSE_CALL(__NR_socket),
    ECHO_REFUSE_CALL(__NR_ptrace),
    ECHO_REFUSE_CALL(__NR_process_vm_readv),
    ECHO_REFUSE_CALL(__NR_process_vm_writev),
    ECHO_REFUSE_CALL(__NR_mount),
    ECHO_REFUSE_CALL(__NR_umount2),
    ECHO_REFUSE_CALL(__NR_pivot_root),
    ECHO_REFUSE_CALL(__NR_chroot),
    ECHO_REFUSE_CALL(__NR_unshare),
    ECHO_REFUSE_CALL(__NR_setns),
    ECHO_REFUSE_CALL(__NR_add_key),
    ECHO_REFUSE_CALL(__NR_request_key),
    ECHO_REFUSE_CALL(__NR_keyctl),
    ECHO_REFUSE_CALL(__NR_bpf),
    ECHO_REFUSE_CALL(__NR_perf_event_open),
    ECHO_REFUSE_CALL(__NR_userfaultfd),
    ECHO_REFUSE_CALL(__NR_open_by_handle_at),
    ECHO_REFUSE_CALL(__NR_kcmp),
    ECHO_REFUSE_CALL(__NR_fanotify_init),
    ECHO_REFUSE_CALL(__NR_shmget),
    ECHO_REFUSE_CALL(__NR_semget),
    ECHO_REFUSE_CALL(__NR_msgget),
    ECHO_REFUSE_CALL(__NR_mq_open),
    ECHO_REFUSE_CALL(425),  // io_uring_setup; from 424 on, numbers are the same everywhere
    ECHO_REFUSE_CALL(428),  // open_tree
    ECHO_REFUSE_CALL(429),  // move_mount
    ECHO_REFUSE_CALL(430),  // fsopen
    ECHO_REFUSE_CALL(432),  // fsmount
    ECHO_REFUSE_CALL(433),  // fspick
    ECHO_REFUSE_CALL(438),  // pidfd_getfd
    ECHO_REFUSE_CALL(442),  // mount_setattr
    // clone3 hides its flags behind a pointer; without it the C library uses clone.
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 435, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_clone, 0, 3),
    ECHO_LOAD(args[0]),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kNewNamespaces, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, kRefuse),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

#undef ECHO_LOAD
#undef ECHO_REFUSE_CALL

}  // namespace

bool apply_seccomp() {
  const sock_fprog program = {sizeof(kFilter) / sizeof(kFilter[0]), const_cast<sock_filter*>(kFilter)};
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

#else

bool apply_seccomp() { return false; }

#endif

}  // namespace echo
