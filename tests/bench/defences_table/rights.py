"""Defences of each run: hygiene, limits, and the rights that it gives up."""

from __future__ import annotations

from tests.bench.defences_table.defence import (
    BACKENDS,
    BOX,
    DISK,
    KERNEL,
    LIMITED,
    NO_SOCKET_RULES,
    OUTLIVING,
    REACH,
    RUN,
    SECCOMP,
    USED_UP,
    Defence,
    Edit,
)

NO_NEW_PRIVS: tuple[Edit, ...] = (
    (f"{BOX}watcher/launcher.py", "        prctl(_SET_NO_NEW_PRIVS, 1)", "        pass"),
    (f"{BOX}inside/confine.py", "        _prctl(_SET_NO_NEW_PRIVS, 1)\n", ""),
)

REFUSED_CALLS = (f"{KERNEL}test_it_is_refused_dangerous_system_calls[bwrap]",)
UNSEEN_CALLS = (f"{SECCOMP}test_calls_that_something_else_refuses_here_too_are_refused_by_the_filter",)


def _rule(name: str, call: str, numbers: str, selection: tuple[str, ...], note: str = "") -> Defence:
    edit = (f"{BOX}backends/seccomp.py", f'    "{call}": ({numbers}),\n', "")
    return Defence(f"seccomp: {name}", (edit,), selection, note)


HYGIENE = (
    Defence(
        "environment built from nothing",
        ((f"{BOX}environment.py", "    return threads | {\n", "    return dict(os.environ) | threads | {\n"),),
        (f"{RUN}test_its_environment_is_built_from_nothing",),
    ),
    Defence(
        "descriptors closed",
        (
            (
                f"{BOX}inside/confine.py",
                "        _close_others((0, 1, 2, *keep_fds, *([] if ",
                "        len((0, *([] if ",
            ),
            (
                f"{BOX}backends/backend.py",
                "            pass_fds=asked.pass_fds,\n",
                '            pass_fds=[int(fd) for fd in __import__("os").listdir("/proc/self/fd") if int(fd) > 2],\n',
            ),
        ),
        (
            f"{RUN}test_no_other_file_descriptor_reaches_it",
            f"{REACH}test_it_reads_no_secret[landlock-an inherited descriptor]",
        ),
        "both places: when the watcher starts, and before the agent's program",
    ),
    Defence(
        "standard input at its end",
        (
            (
                f"{BOX}backends/backend.py",
                "            stdin=asked.stdin,\n",
                "            stdin=subprocess.PIPE,\n",
            ),
        ),
        (f"{RUN}test_standard_input_is_at_its_end",),
    ),
    Defence(
        "orphans adopted (subreaper)",
        ((f"{BOX}watcher/launcher.py", "    prctl(_SET_CHILD_SUBREAPER, 1)\n", ""),),
        (f"{OUTLIVING}test_nothing_outlives_the_run[landlock-a daemon]",),
        "with bwrap, the process namespace covers it",
    ),
    Defence(
        "descendants killed at the end",
        (
            (
                f"{BOX}watcher/watch.py",
                "            for pid in descendants(os.getpid()):\n                kill(pid)\n",
                "",
            ),
        ),
        (f"{OUTLIVING}test_nothing_outlives_the_run[landlock-a daemon]",),
    ),
    Defence(
        "death with pytest",
        ((f"{BOX}watcher/watch.py", "return self._life in ready or os.getppid() != self._parent", "return False"),),
        (f"{OUTLIVING}test_it_dies_with_the_process_that_runs_it[landlock]",),
        "both signs: the pipe that hangs up, and the new parent",
    ),
    Defence(
        "output cut",
        ((f"{BOX}process.py", "        del self._tail[: max(0, len(self._tail) - self._tail_size)]\n", ""),),
        (f"{LIMITED}test_of_a_long_output_the_head_and_more_of_the_tail_are_kept",),
    ),
)

LIMITS = (
    Defence(
        "flood of output ends the run",
        ((f"{BOX}process.py", "if stdout.total + stderr.total > self._limits.flood_bytes:", "if False:"),),
        (f"{LIMITED}test_a_flood_of_output_ends_the_run",),
    ),
    Defence(
        "wall-clock limit",
        ((f"{BOX}watcher/watch.py", "            if time.monotonic() >= deadline:\n", "            if False:\n"),),
        (f"{LIMITED}test_an_endless_loop_that_ignores_all_signals_is_timed_out",),
        "the reader's own deadline ends it 10 s later",
    ),
    Defence(
        "CPU limit",
        ((f"{BOX}watcher/limits.py", 'limits = {"RLIMIT_CPU": [self.cpu_s, self.cpu_s + 1]}', "limits = {}"),),
        (f"{LIMITED}test_cpu_time_is_limited[plain]",),
    ),
    Defence(
        "memory of a process (RLIMIT_DATA)",
        ((f"{BOX}watcher/limits.py", '{"RLIMIT_DATA": [self.memory_bytes] * 2, "RLIMIT_AS"', '{"RLIMIT_AS"'),),
        (f"{LIMITED}test_an_allocation_past_the_limit_is_a_memory_error_in_the_script[1]",),
    ),
    Defence(
        "memory of all processes together",
        ((f"{BOX}watcher/watch.py", "if sum(resident.values()) > limit and ", "if False and "),),
        (f"{LIMITED}test_shared_memory_counts_as_memory",),
    ),
    Defence(
        "memory that the kernel holds of pages without content",
        ((f"{BOX}watcher/proc.py", "return _bytes_in(line) + page_table_bytes(place)", "return _bytes_in(line)"),),
        (f"{USED_UP}test_what_the_kernel_holds_of_pages_without_content_is_bounded[landlock]",),
    ),
    Defence(
        "size of a file (RLIMIT_FSIZE)",
        ((f"{BOX}watcher/limits.py", '"RLIMIT_FSIZE": [self.file_bytes] * 2, ', ""),),
        (f"{USED_UP}test_a_file_is_bounded[bwrap]",),
    ),
    Defence(
        "open files (RLIMIT_NOFILE)",
        ((f"{BOX}watcher/limits.py", ', "RLIMIT_NOFILE": [self.open_files] * 2', ""),),
        (f"{DISK}test_a_process_may_hold_so_many_files_open[cold]",),
    ),
    Defence(
        "processes of a user (RLIMIT_NPROC)",
        ((f"{BOX}watcher/limits.py", '            limits["RLIMIT_NPROC"] = ', "            "),),
        (f"{USED_UP}test_a_fork_bomb_ends[bwrap-one group]",),
        "the bomb refuses to start",
    ),
    Defence(
        "processes counted by the watcher",
        ((f"{BOX}watcher/watch.py", "if tasks > self._limits.processes:", "if False:"),),
        (f"{LIMITED}test_a_fork_bomb_is_stopped[processes]",),
    ),
    Defence(
        "disk space",
        (
            (
                f"{BOX}watcher/disk.py",
                "size + held.deleted_bytes + unknown_files * limits.file_bytes > limits.disk_bytes",
                "False",
            ),
        ),
        (f"{DISK}test_files_that_take_more_than_their_limit_end_the_run[cold-ends-'.']",),
    ),
    Defence(
        "deleted files that are open",
        ((f"{BOX}watcher/disk.py", "size + held.deleted_bytes + unknown_files * limits.file_bytes > ", "size > "),),
        (f"{DISK}test_a_deleted_file_counts_as_long_as_it_is_open[cold]",),
    ),
    Defence(
        "number of files",
        ((f"{BOX}watcher/disk.py", "files > limits.disk_files or _in", "_in"),),
        (f"{DISK}test_too_many_files_end_the_run[cold-files]",),
    ),
    Defence(
        "deleted files that ever new processes hide",
        (
            (f"{BOX}watcher/disk.py", "if not full or files", "if files"),
            (f"{BOX}watcher/disk.py", "min(full)", "min([*full, 0])"),
        ),
        (f"{DISK}test_who_hides_it_may_change_and_so_may_how[looks0-files]",),
    ),
    Defence(
        "deleted files that are handed from process to process",
        ((f"{BOX}watcher/descriptors.py", "_ROUNDS = 5", "_ROUNDS = 1"),),
        (f"{DISK}test_a_process_that_took_over_from_another_meanwhile_is_looked_at",),
    ),
    Defence(
        "depth of folders",
        (
            (
                f"{BOX}watcher/disk.py",
                "            if len(stack) > DEPTH + 2:  # the outer one, and one of FOLDERS\n",
                "            if False:\n",
            ),
        ),
        (f"{DISK}test_what_lies_too_deep_to_be_counted_exceeds_the_maximum",),
    ),
    Defence(
        "room checked by write_file",
        ((f"{BOX}sandbox.py", "        held = self._check_room([(name, len(data))])\n", "        held = 0\n"),),
        (f"{DISK}test_write_file_refuses_what_would_exceed_the_limits",),
    ),
)

RIGHTS = (
    Defence(
        "no_new_privs",
        NO_NEW_PRIVS,
        (f"{KERNEL}test_it_has_no_privilege_and_gains_none[landlock]",),
        "both places; without it neither Landlock nor seccomp can be had",
    ),
    Defence(
        "a user for each sandbox (as root)",
        ((f"{BOX}backends/own_user.py", "    if os.geteuid() != 0:\n", "    if True:\n"),),
        (
            f"{BACKENDS}test_as_root_each_sandbox_has_a_user_of_its_own[bwrap]",
            f"{BACKENDS}test_as_root_each_sandbox_has_a_user_of_its_own[landlock]",
        ),
    ),
    Defence(
        "capabilities dropped",
        (
            (
                f"{BOX}inside/confine.py",
                "        if capability is not None:\n            _prctl(",
                "        if True:\n            _prctl(",
            ),
            (f"{BOX}inside/confine.py", "    if _libc.capset(header, sets) != 0:\n", "    if False:\n"),
        ),
        (f"{KERNEL}test_it_has_no_privilege_and_gains_none[bwrap]",),
        "both ways: the change of user drops them too",
    ),
    Defence(
        "seccomp as a whole",
        (
            (
                f"{BOX}inside/confine.py",
                "        if _libc.prctl(_SET_SECCOMP, ",
                "        if False and _libc.prctl(_SET_SECCOMP, ",
            ),
            (f"{BOX}backends/bwrap.py", '*(self._program, "--seccomp", number)', "self._program"),
        ),
        (f"{KERNEL}test_it_has_no_privilege_and_gains_none[bwrap]", *REFUSED_CALLS),
        "bwrap itself has the same filter, so both are removed",
    ),
    Defence(
        "seccomp: calls of another architecture",
        (
            (
                f"{BOX}backends/seccomp.py",
                "(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, arch), _kill(), (_LOAD, 0, 0, _NUMBER)]",
                "(_LOAD, 0, 0, _NUMBER)]",
            ),
        ),
        (f"{SECCOMP}test_calls_of_another_architecture_kill",),
    ),
    Defence(
        "seccomp: leases of files",
        ((f"{BOX}backends/seccomp.py", "*_deny([_LEASE], errno.EPERM)]", "]"),),
        (f"{KERNEL}test_it_has_nobody_wait_for_it_who_opens_a_file[landlock]",),
    ),
    Defence(
        "seccomp: namespaces by clone",
        ((f"{BOX}backends/seccomp.py", "(_ANY_BIT, 0, 1, _NEW_NAMESPACES)", "(_ANY_BIT, 0, 1, 0)"),),
        (f"{SECCOMP}test_the_filter",),
    ),
    _rule("namespaces by unshare", "unshare", "272, 97", REFUSED_CALLS),
    _rule("ptrace", "ptrace", "101, 117", (f"{SECCOMP}test_the_filter",), "namespaces and Landlock cover it"),
    _rule("process_vm_readv", "process_vm_readv", "310, 270", UNSEEN_CALLS, "namespaces and Landlock cover it"),
    _rule("io_uring", "io_uring_setup", "425, 425", REFUSED_CALLS),
    _rule("keys", "keyctl", "250, 219", REFUSED_CALLS),
    _rule("userfaultfd", "userfaultfd", "323, 282", REFUSED_CALLS),
    _rule("bpf", "bpf", "321, 280", UNSEEN_CALLS, "where the kernel's own setting refuses it as well"),
    _rule("performance counters", "perf_event_open", "298, 241", UNSEEN_CALLS, "the same"),
    _rule(
        "memory in files without a name",
        "memfd_create",
        "319, 279",
        (f"{BACKENDS}test_no_attack_comes_through[-bwrap]",),
    ),
    _rule("shared memory of System V", "shmget", "29, 194", REFUSED_CALLS),
    Defence(
        "seccomp: sockets", (NO_SOCKET_RULES,), (*REFUSED_CALLS, f"{REACH}test_it_reaches_no_listener[landlock-udp]")
    ),
    Defence(
        "seccomp: signals, where Landlock knows none",
        ((f"{BOX}backends/seccomp.py", '    if "signals" in gaps:\n', "    if False:\n"),),
        (f"{SECCOMP}test_the_filter",),
    ),
    Defence(
        "seccomp: changes of mode and owner",
        ((f"{BOX}backends/seccomp.py", '    if "metadata" in gaps:\n', "    if False:\n"),),
        (f"{SECCOMP}test_the_filter",),
    ),
)
