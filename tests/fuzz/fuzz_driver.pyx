# cython: language_level=3
"""libFuzzer inside the interpreter: it makes inputs, and a target takes them: a Python callable or a C function.

A callable gets the input as a memoryview of just the bytes that libFuzzer allocated, so that AddressSanitizer sees a
read of one byte too many.  An exception that leaves it is a finding, and so is more than a second of processor time.
"""

from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.buffer cimport PyBUF_READ
from libc.stdint cimport int64_t, uint8_t, uintptr_t
from libc.stdlib cimport abort, free, malloc
from posix.time cimport CLOCK_MONOTONIC, CLOCK_THREAD_CPUTIME_ID, clock_gettime, timespec

import sys
import traceback

cdef extern from *:
    """
    #ifdef __cplusplus
    extern "C"
    #endif
    int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*target)(const uint8_t *data, size_t size));
    """
    int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*target)(const uint8_t *data, size_t size) noexcept)

cdef enum:
    SECOND = 1_000_000_000

ctypedef int (*Function)(const uint8_t *data, size_t size) noexcept

cdef object callable_target = None
cdef Function function_target = NULL


cdef int64_t now(int clock) noexcept:
    cdef timespec time
    clock_gettime(clock, &time)
    return <int64_t>time.tv_sec * SECOND + time.tv_nsec


cdef int call(const uint8_t *data, size_t size) except -1:
    if function_target != NULL:
        return function_target(data, size)
    callable_target(PyMemoryView_FromMemory(<char *>data, <Py_ssize_t>size, PyBUF_READ))
    return 0


cdef int take(const uint8_t *data, size_t size) noexcept:
    cdef int64_t began = now(CLOCK_MONOTONIC)
    try:
        call(data, size)
        if now(CLOCK_MONOTONIC) - began > SECOND:       # or the machine had other things to do
            began = now(CLOCK_THREAD_CPUTIME_ID)
            call(data, size)
            if now(CLOCK_THREAD_CPUTIME_ID) - began > SECOND:
                raise TimeoutError("an execution took more than a second")
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        abort()
    return 0


def run(target, list arguments not None):
    """Let libFuzzer run `target`, a callable or a C function's address, with its command line `arguments`.

    The program's name comes first in them.  As a rule libFuzzer ends the process.
    """
    global callable_target, function_target
    if isinstance(target, int):
        function_target = <Function><uintptr_t>target
    else:
        callable_target = target
    cdef list texts = [argument.encode() for argument in arguments]
    cdef int count = <int>len(texts)
    cdef char **argv = <char **>malloc(<size_t>(count + 1) * sizeof(char *))
    for i in range(count):
        argv[i] = texts[i]
    argv[count] = NULL
    try:
        return LLVMFuzzerRunDriver(&count, &argv, take)
    finally:
        free(argv)
