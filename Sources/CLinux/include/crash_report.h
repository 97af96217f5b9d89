#pragma once
// A line on standard error when the process crashes: which signal, which thread, which stream.
#include <stdint.h>

// Installs the report for SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP and SIGABRT. What was installed
// before (a debugger's or a sanitizer's handler, or the kernel's default) gets the signal after it.
void fl_install_crash_report(void);

// Gives the calling thread a stack of its own for the report: a stack overflow has no other room.
void fl_prepare_thread_for_crash(void);

// The stream that the calling thread began last.
extern _Thread_local uint64_t fl_latest_stream;

static inline void fl_note_stream(uint64_t id) { fl_latest_stream = id; }
