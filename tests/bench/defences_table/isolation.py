"""Defences that hide the machine from a run, and our own files from its tricks."""

from __future__ import annotations

from tests.bench.defences_table.defence import (
    ALONE,
    BACKENDS,
    BOX,
    CHOICE,
    CONTAINER,
    DOCKER,
    FILES,
    GRADER,
    IMAGE,
    IMPORTS,
    NO_SOCKET_RULES,
    PRELOAD,
    PRELOADED,
    REACH,
    SECCOMP,
    USED_UP,
    Defence,
    Edit,
)

OPEN_BASE: Edit = (
    f"{BOX}backends/bwrap.py",
    "        hand_over(base, self.owner)",
    "        hand_over(base, self.owner), base.chmod(0o755)",
)
"""Without it the agent, seeing the machine's own folders, could not even enter the sandbox's."""

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
        (f"{REACH}test_it_reads_no_secret[landlock-a file of the user]",),
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
        (f"{REACH}test_it_reads_no_secret[landlock-a file of the user]",),
    ),
    Defence(
        "Landlock: no TCP",
        (
            (f"{BOX}backends/landlock.py", "network = _NETWORK if self._abi >= _NETWORK_ABI else 0", "network = 0"),
            NO_SOCKET_RULES,
        ),
        (f"{REACH}test_it_reaches_no_listener[landlock-tcp]",),
        "with seccomp's rules for sockets, which cover it",
    ),
    Defence(
        "Landlock: no abstract sockets (scope)",
        (
            (f"{BOX}backends/landlock.py", "scopes = _SCOPES if self._abi >= _SCOPES_ABI else 0", "scopes = 0"),
            NO_SOCKET_RULES,
        ),
        (f"{REACH}test_it_reaches_no_listener[landlock-unix abstract]",),
        "with seccomp's rules for sockets, which cover it; the scope of signals is covered by the user of its own",
    ),
    Defence(
        "bwrap: process namespace",
        ((f"{BOX}backends/bwrap.py", '"--unshare-pid", ', ""),),
        (f"{REACH}test_it_reads_no_secret[bwrap-the arguments of any process]",),
    ),
    Defence(
        "bwrap: network namespace",
        ((f"{BOX}backends/bwrap.py", '"--unshare-net", ', ""),),
        (f"{REACH}test_it_reaches_no_listener[bwrap-unix abstract]",),
    ),
    Defence(
        "bwrap: IPC namespace",
        (
            (f"{BOX}backends/bwrap.py", '"--unshare-ipc", ', ""),
            (f"{BOX}backends/seccomp.py", '    "shmget": (29, 194),\n', ""),
        ),
        (f"{REACH}test_it_leaves_no_shared_memory[bwrap]",),
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
        (f"{REACH}test_it_reads_no_secret[bwrap-a file of the user]",),
    ),
    Defence(
        "bwrap: sizes of its own /tmp and /dev/shm",
        ((f"{BOX}backends/bwrap.py", 'return ["--size", str(size), "--perms"', 'return ["--perms"'),),
        (f"{USED_UP}test_folders_for_temporary_files_are_bounded_or_closed[bwrap]",),
    ),
    Defence(
        "docker: no network",
        ((f"{BOX}backends/client.py", '"--network", "none", ', ""),),
        (f"{DOCKER}test_it_reaches_neither_the_watcher_nor_the_network[stand-in]",),
    ),
    Defence(
        "docker: the watcher's program is root's alone",
        ((f"{BOX}backends/roots.py", "tarfile.DIRTYPE, 0o700", "tarfile.DIRTYPE, 0o755"),),
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
        (f"{CONTAINER}test_an_agent_whose_watcher_is_killed_does_not_live_on[stand-in]",),
    ),
    Defence(
        "docker: it dies with pytest, not with who holds its socket",
        ((f"{BOX}backends/container.py", "        elif ready != {ended}:\n", "        elif False:\n"),),
        (f"{CONTAINER}test_it_is_gone_when_pytest_is_killed_though_a_child_of_it_lives[stand-in]",),
    ),
    Defence(
        "docker: what is mounted below a read-only mount is read-only",
        (
            (
                f"{BOX}backends/mounts.py",
                "        path not in view.readable\n        and any",
                "        False\n        and any",
            ),
        ),
        (f"{DOCKER}test_what_is_mounted_below_the_packages_is_read_only_too",),
    ),
    Defence(
        "docker: what is hidden is read-only",
        ((f"{BOX}backends/mounts.py", '"readonly", "tmpfs-mode', '"tmpfs-mode'),),
        (f"{IMAGE}test_its_files_and_volumes_are_read_only[stand-in]",),
    ),
    Defence(
        "docker: the volumes of an image are covered",
        ((f"{BOX}backends/roots.py", "for word in empty(path))]", "for word in ())]"),),
        (f"{IMAGE}test_its_files_and_volumes_are_read_only[stand-in]",),
    ),
    Defence(
        "docker: our folder in an image is closed to its owner",
        ((f"{BOX}backends/carried.py", "        ours.chmod(0)  #", "        #"),),
        (f"{IMAGE}test_nothing_of_this_machine_is_seen_and_nothing_of_ours_can_be_entered[stand-in]",),
    ),
    Defence(
        "bwrap: files in its own /tmp and /dev/shm",
        ((f"{BOX}watcher/disk.py", " or _in_private_memory(places()) > limits.disk_files", ""),),
        (f"{USED_UP}test_the_number_of_temporary_files_is_bounded[bwrap]",),
    ),
    Defence(
        "docker: the agent is not root",
        ((f"{BOX}backends/docker.py", "            uid=self._uid,\n", "            uid=None,\n"),),
        (f"{DOCKER}test_it_runs_with_our_interpreter_and_packages_alone_in_its_folder[stand-in]",),
    ),
    Defence(
        "the view: only what Python needs",
        ((f"{BOX}backends/view.py", '    *("/etc/ld.so.cache", ', '    *("/tmp", "/etc/ld.so.cache", '), OPEN_BASE),
        tuple(f"{REACH}test_it_reads_no_secret[{backend}-a file of the user]" for backend in ("bwrap", "landlock")),
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
        ((f"{BOX}runner.py", '            if result.status in ("disk", "files"):\n', "            if False:\n"),),
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
        (f"{CHOICE}test_the_probe_finds_out_what_does_not_isolate",),
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
        (f"{CHOICE}test_it_fails_closed_with_the_remedy_and_the_way_to_do_without",),
    ),
    Defence(
        "isolation that did not start is an error",
        ((f"{BOX}process.py", "        if not has_begun and not self._stopped:\n", "        if False:\n"),),
        (f"{CHOICE}test_an_isolation_that_does_not_start_is_our_fault",),
    ),
    Defence(
        "none is refused where CI is set",
        (("pytest_rltask/suite/isolation.py", "    if wanted == NONE and is_ci and ", "    if False and "),),
        ("tests/plugin/test_sandbox_option.py::test_none_is_refused_on_a_ci_machine",),
    ),
    Defence(
        "preloading: no look into the interpreter",
        ((f"{BOX}inside/preload.py", "    _prctl(_SET_DUMPABLE, 0)", "    pass"),),
        (f"{PRELOADED}test_a_run_may_not_look_into_the_interpreter",),
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
            f"{PRELOADED}test_a_run_that_harms_the_interpreter_is_told_so_and_the_next_one_gets_another[bwrap-limit]",
            f"{PRELOADED}test_a_run_that_harms_the_interpreter_is_told_so_and_the_next_one_gets_another[bwrap-be nice]",
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
