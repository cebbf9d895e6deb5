"""The defences that ``defences`` removes one at a time: the edit that removes each, and the tests that must notice.

Where two layers stop the same attack, they are removed together, and the note says which covers the other. Never
removed is what keeps a probe itself harmless: see ``tests/sandbox/test_probes.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

BOX, ONNX, IMBALANCE = "pytest_rltask/sandbox/", "benchmarks/onnx_export/", "benchmarks/imbalance/"
PROBES, BACKENDS = "tests/sandbox/test_probes.py::", "tests/sandbox/test_backends.py::"
RUN, DISK, FILES = (f"tests/sandbox/test_sandbox_{part}.py::" for part in ("run", "disk", "files"))
PRELOAD, SECCOMP = "tests/sandbox/test_sandbox_preload.py::", "tests/sandbox/test_seccomp.py::"
IMPORTS, ALONE = "tests/sandbox/test_imports.py::", "tests/sandbox/test_threads_alone.py::"
DOCKER = "tests/sandbox/test_docker.py::"
GRADER, HOSTILE, DATA = (f"tests/benchmarks/test_onnx_{part}.py::" for part in ("grader", "hostile", "data"))
SESSION, TASK = (f"tests/benchmarks/test_imbalance_{part}.py::" for part in ("session", "task"))
AUDIT_ONNX = "benchmarks/onnx_export/test_onnx_export.py::test_onnx_export[audit-{}]"
AUDIT_IMBALANCE = "benchmarks/imbalance/test_imbalance.py::test_imbalance[audit-{}]"

Edit = tuple[str, str, str]
"""A file, a text that it holds exactly once, and what takes its place."""


@dataclass(frozen=True)
class Defence:
    """Something that stops an attack."""

    name: str
    edits: tuple[Edit, ...]
    """What removes it."""
    selection: tuple[str, ...]
    """Tests, or else audits, of which at least one must go red."""
    note: str = ""


NO_NEW_PRIVS: tuple[Edit, ...] = (
    (f"{BOX}watcher/launcher.py", "        prctl(_SET_NO_NEW_PRIVS, 1)", "        pass"),
    (f"{BOX}inside/confine.py", "        _prctl(_SET_NO_NEW_PRIVS, 1)\n", ""),
)
NO_SOCKET_RULES: Edit = (
    f"{BOX}backends/seccomp.py",
    'code += _sockets(column, reachable="sockets" in gaps)',
    "code += []",
)
OPEN_BASE: Edit = (
    f"{BOX}backends/bwrap.py",
    "        hand_over(base, self.owner)",
    "        hand_over(base, self.owner), base.chmod(0o755)",
)
"""Without it the agent, seeing the machine's own folders, could not even enter the sandbox's."""
REFUSED_CALLS = (f"{PROBES}test_it_is_refused_dangerous_system_calls[bwrap]",)
UNSEEN_CALLS = (f"{SECCOMP}test_calls_that_something_else_refuses_here_too_are_refused_by_the_filter",)


def _rule(name: str, call: str, numbers: str, selection: tuple[str, ...], note: str = "") -> Defence:
    edit = (f"{BOX}backends/seccomp.py", f'    "{call}": ({numbers}),\n', "")
    return Defence(f"seccomp: {name}", (edit,), selection, note)


HYGIENE = (
    Defence(
        "environment built from nothing",
        ((f"{BOX}sandbox.py", "    return threads | {\n", "    return dict(os.environ) | threads | {\n"),),
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
            f"{PROBES}test_it_reads_no_secret[landlock-an inherited descriptor]",
        ),
        "both places: when the watcher starts, and before the agent's program",
    ),
    Defence(
        "standard input at its end",
        (
            (
                f"{BOX}backends/backend.py",
                "            stdin=subprocess.DEVNULL,\n",
                "            stdin=asked.streams[0],\n",
            ),
        ),
        (f"{RUN}test_standard_input_is_at_its_end",),
    ),
    Defence(
        "orphans adopted (subreaper)",
        ((f"{BOX}watcher/launcher.py", "    prctl(_SET_CHILD_SUBREAPER, 1)\n", ""),),
        (f"{PROBES}test_nothing_outlives_the_run[landlock-a daemon]",),
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
        (f"{PROBES}test_nothing_outlives_the_run[landlock-a daemon]",),
    ),
    Defence(
        "death with pytest",
        ((f"{BOX}watcher/watch.py", "return self._life in ready or os.getppid() != self._parent", "return False"),),
        (f"{PROBES}test_it_dies_with_the_process_that_runs_it[landlock]",),
        "both signs: the pipe that hangs up, and the new parent",
    ),
    Defence(
        "output cut",
        ((f"{BOX}process.py", "        del self._tail[: max(0, len(self._tail) - self._tail_size)]\n", ""),),
        (f"{RUN}test_of_a_long_output_the_head_and_more_of_the_tail_are_kept",),
    ),
)

LIMITS = (
    Defence(
        "flood of output ends the run",
        ((f"{BOX}process.py", "if stdout.total + stderr.total > self._limits.flood_bytes:", "if False:"),),
        (f"{RUN}test_a_flood_of_output_ends_the_run",),
    ),
    Defence(
        "wall-clock limit",
        ((f"{BOX}watcher/watch.py", "            if time.monotonic() >= deadline:\n", "            if False:\n"),),
        (f"{RUN}test_an_endless_loop_that_ignores_all_signals_is_timed_out",),
        "the reader's own deadline ends it 10 s later",
    ),
    Defence(
        "CPU limit",
        ((f"{BOX}watcher/limits.py", 'limits = {"RLIMIT_CPU": [self.cpu_s, self.cpu_s + 1]}', "limits = {}"),),
        (f"{RUN}test_cpu_time_is_limited[plain]",),
    ),
    Defence(
        "memory of a process (RLIMIT_DATA)",
        ((f"{BOX}watcher/limits.py", '{"RLIMIT_DATA": [self.memory_bytes] * 2, "RLIMIT_AS"', '{"RLIMIT_AS"'),),
        (f"{RUN}test_an_allocation_past_the_limit_is_a_memory_error_in_the_script[1]",),
    ),
    Defence(
        "memory of all processes together",
        ((f"{BOX}watcher/watch.py", "if sum(resident.values()) > limit and ", "if False and "),),
        (f"{RUN}test_shared_memory_counts_as_memory",),
    ),
    Defence(
        "memory that the kernel holds of pages without content",
        ((f"{BOX}watcher/proc.py", "return _bytes_in(line) + page_table_bytes(place)", "return _bytes_in(line)"),),
        (f"{PROBES}test_what_the_kernel_holds_of_pages_without_content_is_bounded[landlock]",),
    ),
    Defence(
        "size of a file (RLIMIT_FSIZE)",
        ((f"{BOX}watcher/limits.py", '"RLIMIT_FSIZE": [self.file_bytes] * 2, ', ""),),
        (f"{PROBES}test_a_file_is_bounded[bwrap]",),
    ),
    Defence(
        "open files (RLIMIT_NOFILE)",
        ((f"{BOX}watcher/limits.py", ', "RLIMIT_NOFILE": [self.open_files] * 2', ""),),
        (f"{DISK}test_a_process_may_hold_so_many_files_open[cold]",),
    ),
    Defence(
        "processes of a user (RLIMIT_NPROC)",
        ((f"{BOX}watcher/limits.py", '            limits["RLIMIT_NPROC"] = ', "            "),),
        (f"{PROBES}test_a_fork_bomb_ends[bwrap-one group]",),
        "the bomb refuses to start",
    ),
    Defence(
        "processes counted by the watcher",
        ((f"{BOX}watcher/watch.py", "if tasks > self._limits.processes:", "if False:"),),
        (f"{RUN}test_a_fork_bomb_is_stopped[processes]",),
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
        ((f"{BOX}sandbox.py", "        held = self._check_room(name, len(data))\n", "        held = 0\n"),),
        (f"{DISK}test_write_file_refuses_what_would_exceed_the_limits",),
    ),
)

RIGHTS = (
    Defence(
        "no_new_privs",
        NO_NEW_PRIVS,
        (f"{PROBES}test_it_has_no_privilege_and_gains_none[landlock]",),
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
        (f"{PROBES}test_it_has_no_privilege_and_gains_none[bwrap]",),
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
        (f"{PROBES}test_it_has_no_privilege_and_gains_none[bwrap]", *REFUSED_CALLS),
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
        (f"{PROBES}test_it_has_nobody_wait_for_it_who_opens_a_file[landlock]",),
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
        "seccomp: sockets", (NO_SOCKET_RULES,), (*REFUSED_CALLS, f"{PROBES}test_it_reaches_no_listener[landlock-udp]")
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

ISOLATION = (
    Defence(
        "Landlock as a whole",
        (
            (
                f"{BOX}backends/landlock.py",
                "            landlock=self._ruleset(base, processes=_EVERYBODY if wish.forks_runs else _OURSELVES),\n",
                "",
            ),
        ),
        (f"{PROBES}test_it_reads_no_secret[landlock-a file of the user]",),
    ),
    Defence(
        "Landlock: only what is listed",
        (
            (
                f"{BOX}backends/landlock.py",
                "        granted = {str(base / name)",
                '        granted = {"/": _WORK} | {str(base / name)',
            ),
        ),
        (f"{PROBES}test_it_reads_no_secret[landlock-a file of the user]",),
    ),
    Defence(
        "Landlock: no TCP",
        (
            (f"{BOX}backends/landlock.py", "network = _NETWORK if self._abi >= _NETWORK_ABI else 0", "network = 0"),
            NO_SOCKET_RULES,
        ),
        (f"{PROBES}test_it_reaches_no_listener[landlock-tcp]",),
        "with seccomp's rules for sockets, which cover it",
    ),
    Defence(
        "Landlock: no abstract sockets (scope)",
        (
            (f"{BOX}backends/landlock.py", "scopes = _SCOPES if self._abi >= _SCOPES_ABI else 0", "scopes = 0"),
            NO_SOCKET_RULES,
        ),
        (f"{PROBES}test_it_reaches_no_listener[landlock-unix abstract]",),
        "with seccomp's rules for sockets, which cover it; the scope of signals is covered by the user of its own",
    ),
    Defence(
        "bwrap: process namespace",
        ((f"{BOX}backends/bwrap.py", '"--unshare-pid", ', ""),),
        (f"{PROBES}test_it_reads_no_secret[bwrap-the arguments of any process]",),
    ),
    Defence(
        "bwrap: network namespace",
        ((f"{BOX}backends/bwrap.py", '"--unshare-net", ', ""),),
        (f"{PROBES}test_it_reaches_no_listener[bwrap-unix abstract]",),
    ),
    Defence(
        "bwrap: IPC namespace",
        (
            (f"{BOX}backends/bwrap.py", '"--unshare-ipc", ', ""),
            (f"{BOX}backends/seccomp.py", '    "shmget": (29, 194),\n', ""),
        ),
        (f"{PROBES}test_it_leaves_no_shared_memory[bwrap]",),
        "with seccomp's rule for shmget, which covers it",
    ),
    Defence(
        "bwrap: nothing of the machine's /tmp",
        (
            (
                f"{BOX}backends/bwrap.py",
                '*("--remount-ro", "/dev", ',
                '*("--bind", "/tmp", "/tmp", "--remount-ro", "/dev", ',
            ),
            OPEN_BASE,
        ),
        (f"{PROBES}test_it_reads_no_secret[bwrap-a file of the user]",),
    ),
    Defence(
        "bwrap: sizes of its own /tmp and /dev/shm",
        ((f"{BOX}backends/bwrap.py", 'return ["--size", str(size), "--perms"', 'return ["--perms"'),),
        (f"{PROBES}test_folders_for_temporary_files_are_bounded_or_closed[bwrap]",),
    ),
    Defence(
        "docker: no network",
        ((f"{BOX}backends/docker.py", '"--network", "none", ', ""),),
        (f"{DOCKER}test_it_reaches_neither_the_watcher_nor_the_network[stand-in]",),
    ),
    Defence(
        "docker: the watcher's program is root's alone",
        ((f"{BOX}backends/docker.py", "tarfile.DIRTYPE, 0o700", "tarfile.DIRTYPE, 0o755"),),
        (f"{DOCKER}test_it_reaches_neither_the_watcher_nor_the_network[stand-in]",),
    ),
    Defence(
        "docker: what a killed watcher leaves is killed",
        (
            (
                f"{BOX}backends/container.py",
                "        if pid in watchers and os.WIFSIGNALED(status):\n",
                "        if False:\n",
            ),
        ),
        (f"{DOCKER}test_an_agent_whose_watcher_is_killed_does_not_live_on[stand-in]",),
    ),
    Defence(
        "docker: it dies with pytest, not with who holds its socket",
        ((f"{BOX}backends/container.py", "        elif ready != {ended}:\n", "        elif False:\n"),),
        (f"{DOCKER}test_it_is_gone_when_pytest_is_killed_though_a_child_of_it_lives[stand-in]",),
    ),
    Defence(
        "docker: what is mounted below a read-only mount is read-only",
        (
            (
                f"{BOX}backends/docker.py",
                "        path not in view.readable\n        and any",
                "        False\n        and any",
            ),
        ),
        (f"{DOCKER}test_what_is_mounted_below_the_packages_is_read_only_too",),
    ),
    Defence(
        "bwrap: files in its own /tmp and /dev/shm",
        ((f"{BOX}watcher/disk.py", " or _in_private_memory(places()) > limits.disk_files", ""),),
        (f"{PROBES}test_the_number_of_temporary_files_is_bounded[bwrap]",),
    ),
    Defence(
        "docker: the agent is not root",
        ((f"{BOX}backends/docker.py", "            uid=self._uid,\n", "            uid=None,\n"),),
        (f"{DOCKER}test_it_runs_with_our_interpreter_and_packages_alone_in_its_folder[stand-in]",),
    ),
    Defence(
        "the view: only what Python needs",
        ((f"{BOX}backends/view.py", '    *("/etc/ld.so.cache", ', '    *("/tmp", "/etc/ld.so.cache", '), OPEN_BASE),
        tuple(f"{PROBES}test_it_reads_no_secret[{backend}-a file of the user]" for backend in ("bwrap", "landlock")),
    ),
    Defence(
        "the view: installed sources hidden",
        ((f"{BOX}backends/view.py", "    sources = {*ours, *hidden,", "    sources = {*hidden,"),),
        tuple(f"{BACKENDS}test_installed_sources_of_ours_are_hidden_again[{name}]" for name in ("bwrap", "landlock")),
    ),
    Defence(
        "the view: an installed suite hidden",
        ((f"{BOX}backends/view.py", "    sources = {*ours, *hidden,", "    sources = {*ours,"),),
        (f"{IMPORTS}test_a_suite_that_is_installed_as_a_package_is_hidden",),
    ),
    Defence(
        "the view: links among packages lead to no sources",
        ((f"{BOX}backends/imports.py", " if not _why_not(target, sources)]", "]"),),
        (f"{IMPORTS}test_a_link_to_sources_shows_none_of_them",),
    ),
    Defence(
        "landlock: no link followed where a folder is opened up",
        (
            (
                f"{BOX}backends/landlock.py",
                " for entry in entries if not os.path.islink(entry)]",
                " for entry in entries]",
            ),
        ),
        (f"{IMPORTS}test_a_link_to_sources_shows_none_of_them",),
    ),
    Defence(
        "the view: no folder of the import path that holds a home",
        (
            (
                f"{BOX}backends/imports.py",
                "        if is_inside(os.path.realpath(kept), path):\n",
                "        if False:\n",
            ),
        ),
        (f"{IMPORTS}test_folders_of_the_python_path_and_of_the_user_are_there_too",),
    ),
    Defence(
        "landlock: a forked run gives up the rest of /proc",
        ((f"{BOX}inside/preload.py", "                narrow()\n", "                pass\n"),),
        (f"{BACKENDS}test_no_attack_comes_through[preloaded-landlock]",),
    ),
    Defence(
        "threads of a process whose first one has ended",
        (
            (
                f"{BOX}watcher/proc.py",
                "    return next((thread for thread in threads if lives(thread)), None)\n",
                "    return None\n",
            ),
        ),
        (f"{ALONE}test_their_memory_counts", f"{ALONE}test_their_deleted_files_count"),
    ),
    Defence(
        "no descriptors of a thread's own",
        ((f"{BOX}backends/seccomp.py", "(_ANY_BIT, 0, 1, _CLOSE_RANGE_UNSHARE), _refuse(errno.EINVAL)]", "]"),),
        (f"{ALONE}test_a_thread_cannot_have_descriptors_of_its_own",),
    ),
    Defence(
        "no descriptors of a thread's own, from its start",
        ((f"{BOX}backends/seccomp.py", "*new_namespaces, *own_files]", "*new_namespaces]"),),
        (f"{SECCOMP}test_the_filter",),
    ),
    Defence(
        "what a run wrote past the disk limit is removed",
        ((f"{BOX}sandbox.py", '            if result.status in ("disk", "files"):\n', "            if False:\n"),),
        ("tests/sandbox/test_recovery.py::test_a_run_that_passes_a_limit_of_the_disk_does_not_end_the_next_one",),
    ),
    Defence(
        "the folder of a killed pytest is removed",
        ((f"{BOX}watcher/launcher.py", "    if is_orphaned(folder):\n", "    if False:\n"),),
        ("tests/sandbox/test_leftovers.py::test_the_watcher_removes_it_after_a_kill",),
    ),
    Defence(
        "a backend is tried out",
        ((f"{BOX}backends/probe.py", "    if result.ok and said == _OK:\n", "    if result.ok:\n"),),
        (f"{BACKENDS}test_the_probe_finds_out_what_does_not_isolate",),
    ),
    Defence(
        "no isolation, no run",
        (
            (
                f"{BOX}choice.py",
                '    raise SandboxError(f"no isolation works here ({told}); {remedy}")',
                '    return "none"',
            ),
        ),
        (f"{BACKENDS}test_it_fails_closed_with_the_remedy_and_the_way_to_do_without",),
    ),
    Defence(
        "isolation that did not start is an error",
        ((f"{BOX}process.py", "        if not has_begun and not self._stopped:\n", "        if False:\n"),),
        (f"{BACKENDS}test_an_isolation_that_does_not_start_is_our_fault",),
    ),
    Defence(
        "none is refused where CI is set",
        (("pytest_rltask/suite/isolation.py", "    if wanted == NONE and is_ci and ", "    if False and "),),
        ("tests/plugin/test_sandbox_option.py::test_none_is_refused_on_a_ci_machine",),
    ),
    Defence(
        "preloading: no look into the interpreter",
        ((f"{BOX}inside/preload.py", "    _prctl(_SET_DUMPABLE, 0)", "    pass"),),
        (f"{PRELOAD}test_a_run_may_not_look_into_the_interpreter",),
    ),
    Defence(
        "preloading: no file of the agent is imported",
        ((f"{BOX}inside/preload.py", "sys.path = [folder for folder in sys.path if folder]", "pass"),),
        (f"{PRELOAD}test_what_lies_in_the_working_directory_is_not_run_by_the_interpreter",),
    ),
    Defence(
        "preloading: a changed interpreter is replaced",
        ((f"{BOX}inside/preload.py", "        if _state() != state:\n", "        if False:\n"),),
        (
            f"{PRELOAD}test_a_run_that_harms_the_interpreter_is_told_so_and_the_next_one_gets_another[bwrap-limit]",
            f"{PRELOAD}test_a_run_that_harms_the_interpreter_is_told_so_and_the_next_one_gets_another[bwrap-be nice]",
        ),
    ),
)

OUR_FILES = (
    Defence(
        "no link followed (O_NOFOLLOW)",
        (
            (
                f"{BOX}watcher/removal.py",
                "FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW",
                "FOLDER = os.O_RDONLY | os.O_DIRECTORY",
            ),
        ),
        (f"{FILES}test_a_link_that_appears_after_the_look_is_not_written_through",),
    ),
    Defence(
        "no '..' in a name",
        ((f"{BOX}workspace.py", '    if ".." in parts:\n', "    if False:\n"),),
        (f"{FILES}test_a_bad_name_is_refused_with_a_reason[../a-inside]",),
    ),
    Defence(
        "no absolute name",
        ((f"{BOX}workspace.py", '    if name.startswith("/"):\n', "    if False:\n"),),
        (f"{FILES}test_a_bad_name_is_refused_with_a_reason[/etc/passwd-absolute]",),
        "the name then leads below the working directory",
    ),
    Defence(
        "no hard link read",
        ((f"{BOX}workspace.py", "        if status.st_nlink != 1:\n", "        if False:\n"),),
        (f"{FILES}test_only_a_plain_file_is_read[hard]", f"{GRADER}test_it_takes_no_model_but_a_plain_file[hard link]"),
    ),
    Defence(
        "only plain files read",
        (
            (f"{BOX}workspace.py", "        if not stat.S_ISREG(status.st_mode):\n", "        if False:\n"),
            (
                f"{BOX}workspace.py",
                '            raise ToolError(f"{name!r} is a {kind}, not a file")\n',
                "            pass\n",
            ),
        ),
        (f"{FILES}test_only_a_plain_file_is_read[pipe]", f"{GRADER}test_it_takes_no_model_but_a_plain_file[pipe]"),
        "both looks: at the name, and at what was opened",
    ),
    Defence(
        "size of what is read",
        ((f"{BOX}workspace.py", "        if size > max_bytes:\n", "        if False:\n"),),
        (f"{FILES}test_only_a_plain_file_is_read[long]",),
    ),
)

ONNX_EXPORT = (
    Defence(
        "the model runs isolated",
        ((f"{ONNX}grader.py", 'Sandbox(limits, prefix="rltask-grade-")', 'Sandbox(limits, backend="none")'),),
        (f"{HOSTILE}test_a_taken_over_worker_reads_nothing_of_ours",),
    ),
    Defence(
        "no label where the model runs",
        (
            (
                f"{ONNX}grader.py",
                '        box.write_file("worker.py", _WORKER.read_bytes())\n',
                '        box.write_file("worker.py", _WORKER.read_bytes())\n        box.write_file("y.npy", b"0")\n',
            ),
        ),
        (f"{GRADER}test_the_grading_sandbox_holds_features_and_the_model_but_no_label",),
    ),
    Defence(
        "what the worker leaves is checked",
        ((f"{ONNX}grader.py", 'if kind not in ("float64", "int64") or columns not in (1, 2):', "if False:"),),
        (f"{HOSTILE}test_nothing_that_a_taken_over_worker_leaves_is_believed",),
    ),
    Defence(
        "only weights are taken along",
        ((f"{ONNX}grader.py", " and not name.endswith(_NO_WEIGHTS)}", "}"),),
        (f"{HOSTILE}test_code_and_tables_are_never_taken_for_weights",),
    ),
    Defence(
        "number of weight files",
        ((f"{ONNX}grader.py", "    if len(names) > MAX_WEIGHT_FILES:\n", "    if False:\n"),),
        (f"{HOSTILE}test_a_model_has_only_so_many_weight_files",),
    ),
    Defence(
        "outputs are finite",
        ((f"{ONNX}grader.py", 'if values.dtype.kind == "f" and not np.isfinite(values).all():', "if False:"),),
        (f"{GRADER}test_it_rejects_in_words[NaN]", f"{GRADER}test_it_rejects_in_words[infinite]"),
    ),
    Defence(
        "outputs are classes",
        ((f"{ONNX}grader.py", "        if not np.isin(values, (0, 1)).all():\n", "        if False:\n"),),
        (f"{GRADER}test_it_rejects_in_words[class ids 1 and 2]",),
    ),
    Defence(
        "exported by torch.onnx",
        ((f"{ONNX}grade_worker.py", '    if producer not in (PRODUCER, ""):', "    if False:"),),
        (f"{GRADER}test_it_rejects_in_words[not from torch]",),
    ),
    Defence(
        "accuracies printed are true",
        ((f"{ONNX}grader.py", "abs(said - accuracy[name]) > PRINT_TOLERANCE + 1e-9", "False"),),
        (f"{GRADER}test_a_wrong_printed_accuracy_costs_the_score",),
    ),
    Defence(
        "fresh rows tell who trained on test.csv",
        ((f"{ONNX}grader.py", "test - fresh > LEAK_GAP", "False"),),
        (AUDIT_ONNX.format("canary_floor-cheat_train_on_test"),),
    ),
    Defence(
        "a floor on unseen rows",
        ((f"{ONNX}grader.py", "if fresh < (floor := unseen_floor(min_accuracy)):", "if False:"),),
        (AUDIT_ONNX.format("canary_floor-cheat_patches"),),
    ),
    Defence(
        "noise tells who looks rows up",
        ((f"{ONNX}grader.py", "test - jittered > JITTER_GAP", "False"),),
        (f"{GRADER}test_a_model_that_looks_up_test_rows_is_called_cheated",),
    ),
    Defence(
        "the noise cannot be foreseen",
        ((f"{ONNX}grader.py", "np.random.default_rng(unknown)", "np.random.default_rng(0)"),),
        (f"{GRADER}test_nobody_can_foresee_the_noise",),
    ),
    Defence(
        "the secret in the data's seed",
        (
            (
                f"{ONNX}data.py",
                "np.random.SeedSequence([*key, *words])",
                "np.random.SeedSequence([*words])",
            ),
        ),
        (f"{DATA}test_every_bit_of_the_secret_matters",),
    ),
)

IMBALANCED = (
    Defence(
        "budget, tau and data are not the model's to choose",
        (
            (
                f"{IMBALANCE}task.py",
                "            if value is not None and value != fixed.get(name):\n",
                "            if False:\n",
            ),
        ),
        (f"{TASK}test_a_configuration_of_ones_own_is_refused_with_a_reason",),
    ),
    Defence(
        "strict types of arguments",
        (("pytest_rltask/tools.py", "json.dumps(arguments), strict=True)", "json.dumps(arguments), strict=False)"),),
        (AUDIT_IMBALANCE.format("canary_floor-cheat_nan"),),
    ),
    Defence(
        "no further arguments",
        (("pytest_rltask/tools.py", 'extra="forbid", ', ""),),
        (f"{TASK}test_an_unknown_argument_is_refused",),
    ),
    Defence(
        "nothing before the start",
        (
            (
                f"{IMBALANCE}task.py",
                '        if not self._is_started:\n            raise ToolError("Call imbalance_start first.")\n',
                "",
            ),
        ),
        (f"{TASK}test_a_tool_before_the_start_is_refused_and_free",),
    ),
    Defence(
        "one start",
        (
            (
                f"{IMBALANCE}task.py",
                "        if self._is_started:\n            raise",
                "        if False:\n            raise",
            ),
        ),
        (f"{TASK}test_a_second_start_is_refused_and_keeps_the_session",),
    ),
    Defence(
        "the budget of paid actions",
        ((f"{IMBALANCE}session.py", "        if len(self.actions) >= self._max_steps:\n", "        if False:\n"),),
        (AUDIT_IMBALANCE.format("canary_floor-cheat_overrun"),),
    ),
    Defence(
        "nothing after the submission, which is one",
        ((f"{IMBALANCE}session.py", "        if self.is_submitted:\n", "        if False:\n"),),
        (f"{SESSION}test_nothing_changes_after_the_submission",),
    ),
    Defence(
        "free epochs",
        ((f"{IMBALANCE}session.py", "        if not 1 <= epochs <= left:\n", "        if not 1 <= epochs:\n"),),
        (f"{SESSION}test_more_epochs_than_are_left_are_refused_not_cut[11-10]",),
        "not with 10**9 epochs, which only this check keeps from filling the memory",
    ),
    Defence(
        "learning rate",
        ((f"{IMBALANCE}session.py", "        if not 0.0 < lr <= MAX_LR:\n", "        if not 0.0 < lr:\n"),),
        (f"{SESSION}test_a_learning_rate_out_of_range_is_refused",),
    ),
    Defence(
        "a new configuration begins anew",
        ((f"{IMBALANCE}session.py", "    return model.configuration == key.configuration and ", "    return "),),
        (f"{SESSION}test_another_configuration_does_not_train_on_a_model_that_was_looked_at",),
    ),
)

DEFENCES = (*HYGIENE, *LIMITS, *RIGHTS, *ISOLATION, *OUR_FILES, *ONNX_EXPORT, *IMBALANCED)
