#define _GNU_SOURCE
#include "linux_shim.h"

#include <elf.h>
#include <ifaddrs.h>
#include <link.h>
#include <linux/filter.h>
#include <malloc.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>

int fl_accept(int fd, struct sockaddr_storage *address, socklen_t *length) {
  *length = sizeof *address;
  int r = accept4(fd, (struct sockaddr *)address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return r >= 0 ? r : -errno;
}

void fl_ignore_new_connections(int fd) {
  // The program sees a segment from its TCP header on. Byte 13 holds the flags; 0x02 is SYN.
  struct sock_filter drop_syn[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x02, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
  };
  struct sock_fprog program = {.len = 4, .filter = drop_syn};
  setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

static _Thread_local void *fl_open_memory;

void *fl_open_memory_get(void) { return fl_open_memory; }
void fl_open_memory_set(void *memory) { fl_open_memory = memory; }

int fl_set_thread_name(const char *name) { return pthread_setname_np(pthread_self(), name); }

uint64_t fl_raise_descriptor_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

const void *fl_memmem(const void *bytes, size_t count, const void *needle, size_t needle_count) {
  return memmem(bytes, count, needle, needle_count);
}

int fl_machine_address(struct sockaddr_storage *address, socklen_t *length) {
  struct ifaddrs *all = NULL;
  int found = 0;
  if (getifaddrs(&all) != 0) return 0;
  for (struct ifaddrs *one = all; one && !found; one = one->ifa_next) {
    if (!one->ifa_addr || one->ifa_addr->sa_family != AF_INET) continue;
    if (one->ifa_flags & IFF_LOOPBACK) continue;
    memset(address, 0, sizeof *address);
    memcpy(address, one->ifa_addr, sizeof(struct sockaddr_in));
    *length = sizeof(struct sockaddr_in);
    found = 1;
  }
  freeifaddrs(all);
  return found;
}

void fl_block_signals(void) {
  sigset_t all;
  sigfillset(&all);
  // A blocked fault ends the process without a word.
  const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&all, faults[i]);
  pthread_sigmask(SIG_BLOCK, &all, NULL);
}

uint64_t fl_heap_allocated(void) {
  struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

uint64_t fl_heap_size(void) {
  struct mallinfo2 info = mallinfo2();
  return info.arena + info.hblkhd;
}

uint64_t fl_resident_bytes(void) {
  unsigned long long total = 0, resident = 0;
  FILE *file = fopen("/proc/self/statm", "re");
  if (!file) return 0;
  int found = fscanf(file, "%llu %llu", &total, &resident);
  fclose(file);
  return found == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

int64_t fl_round_trip_microseconds(int fd) {
  struct tcp_info info;
  socklen_t length = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return -1;
  return info.tcpi_rtt;
}

static int release_code_pages(struct dl_phdr_info *program, size_t size, void *unused) {
  (void)size;
  (void)unused;
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  for (int i = 0; i < program->dlpi_phnum; i++) {
    const ElfW(Phdr) *segment = &program->dlpi_phdr[i];
    // What can be written, or was by the loader (RELRO lies in a writable segment), has no copy on disk.
    if (segment->p_type != PT_LOAD || segment->p_flags & PF_W) continue;
    uintptr_t first = program->dlpi_addr + segment->p_vaddr;
    uintptr_t end = (first + segment->p_filesz) & ~(page - 1);
    first = (first + page - 1) & ~(page - 1);
    if (first < end) madvise((void *)first, end - first, MADV_DONTNEED);
  }
  // The program itself comes first; libraries are others' too.
  return 1;
}

void fl_release_code_pages(void) { dl_iterate_phdr(release_code_pages, NULL); }
