"""The program inside the isolation that forks a child for each command or script, with modules imported beforehand.

Its source is started as ``python -c SOURCE SOCKET NARROWING MODULE...`` by the watcher (``watcher/launcher``), or goes
on in the process of ``confine`` where there is no module to import. It announces itself on the socket; for each request
there, which brings the run's stdout and stderr, and its stdin if it has one, it forks, waits and tells the exit code.
It runs no code of the agent and reads no file of the agent's: only its children do, and they hold no way back to it.

A child becomes the command it was asked for. If that is a script, it finds what ``python -- script.py`` would give it:
C runs the file as ``__main__``, so that tracebacks, exit codes and the order of the shutdown are the interpreter's own.
Two things differ: the modules are already in ``sys.modules``, and whoever walks up the stack finds one frame below the
script's.
"""

import sys

_AT_START = frozenset(sys.modules)  # no file of the script's folder takes the place of these in a cold run either
sys.path = [folder for folder in sys.path if folder]  # "-c" adds the working directory, where the agent's files lie

# ruff: noqa: E402 - from here on a module of the agent's could no longer be found
import ctypes
import os
import resource

TYPE_CHECKING = False  # as type checkers know it; to import the module typing would cost 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SET_PDEATHSIG, _SET_DUMPABLE = 1, 4
_SIGKILL = 9
_SIGNALS_OF_PYTHON = (13, 25)  # SIGPIPE, SIGXFSZ: Python ignores them, and other programs are to die of them
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127  # as a shell says it
_MESSAGE_BYTES, _MOST_FDS = 2**17, 16
_C = ctypes.CDLL(None, use_errno=True)


def serve(number: str, narrowing: str, *modules: str) -> str:
    """Serve until the socket hangs up; return only in a child, with the path of the script to run.

    What a first run need not wait for is imported after the announcement.

    Args:
        number: Descriptor of the socket.
        narrowing: What each child gives up at its start: source of ``confine`` and its ruleset, as JSON; or nothing.
        *modules: What to import.
    """
    os.set_inheritable(int(number), False)
    _prctl(_SET_DUMPABLE, 0)  # no child may trace us, or open our files
    loaded = _load(int(number), modules) if modules else set()
    us, folder, state = os.getpid(), os.getcwd(), _state()
    os.write(int(number), b"{}")
    import fcntl  # noqa: F401 - no child need import it anew
    import json
    import socket

    control = socket.socket(fileno=int(number))
    narrow = _narrowing(narrowing)
    while True:
        message, fds, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, _MOST_FDS)
        if not message:
            os._exit(0)  # not sys.exit: the handlers that modules have registered are the children's
        child = os.fork()
        if child == 0:
            try:
                narrow()
            except BaseException as error:
                control.send(json.dumps({"error": f"narrowing: {type(error).__name__}: {error}"}).encode())
                os._exit(1)
            control.close()
            request = json.loads(message)
            _begin(request["limits"], dict(zip(request["numbers"], fds, strict=True)), parent=us, folder=folder)
            if "command" in request:
                _execute(request["command"], request["env"])
            return _become(request["argv"], folder=folder, loaded=loaded)
        for fd in fds:
            os.close(fd)
        _, status, usage = os.wait4(child, 0)
        if _state() != state:
            os._exit(1)  # the run has changed our limits, which its own user may: the next one would inherit them
        code = os.waitstatus_to_exitcode(status)
        control.send(json.dumps({"exit_code": code, "cpu_s": usage.ru_utime + usage.ru_stime}).encode())


def _load(control: int, modules: "tuple[str, ...]") -> "set[str]":
    """Import modules, and return the names at the top of all that was loaded."""
    import gc
    import importlib
    import json

    try:
        for module in modules:
            importlib.import_module(module)
        if len(os.listdir("/proc/self/task")) > 1:
            raise RuntimeError("one of the modules starts threads, which do not survive a fork")
    except BaseException as error:
        os.write(control, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode()[:_MESSAGE_BYTES])
        os._exit(1)
    loaded = {name.partition(".")[0] for name in sys.modules} - _AT_START
    gc.collect()
    gc.freeze()  # a collection in a child need not copy all these pages
    return loaded


def _narrowing(text: str) -> "Callable[[], None]":
    """Return what a child calls to give up more than this process may."""
    if not text:
        return lambda: None
    import json
    import types

    told = json.loads(text)
    confine = types.ModuleType("confine")
    exec(compile(told["source"], "<confine>", "exec"), vars(confine))
    handled, rules = told["ruleset"]

    return lambda: confine.narrow(handled, rules)


def _state() -> "list[object]":
    """Return what another process of our user can change of this one, and a child would inherit."""
    limits = [resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")]
    return [limits, os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0), os.sched_getscheduler(0)]


def _begin(limits: "dict[str, list[int]]", fds: "dict[int, int]", *, parent: int, folder: str) -> None:
    """Give this child what is the run's own: its descriptors, by their numbers, its session, its limits."""
    import fcntl

    above = max([*fds, *fds.values()]) + 1
    moved = {number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for number, fd in fds.items()}
    for fd in fds.values():
        os.close(fd)
    for number, fd in moved.items():
        os.dup2(fd, number)
        os.close(fd)
    os.setsid()
    _prctl(_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before the line above
    _prctl(_SET_DUMPABLE, 1)
    for name, (soft, hard) in limits.items():
        which = getattr(resource, name)
        ceiling = resource.getrlimit(which)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.setrlimit(which, (soft, hard))
    os.chdir(folder)


def _execute(command: "list[str]", env: "dict[str, str]") -> None:
    """Become a command, or end as a shell does that does not find it."""
    _C.signal.argtypes, _C.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    for number in _SIGNALS_OF_PYTHON:
        _C.signal(number, None)  # SIG_DFL
    try:
        os.execvpe(command[0], command, env)
    except FileNotFoundError:
        said, code = "not found", _NOT_FOUND
    except OSError as error:
        said, code = os.strerror(error.errno or 0), _NOT_EXECUTABLE
    os.write(2, f"{command[0]}: {said}\n".encode())
    os._exit(code)


def _become(argv: "list[str]", *, folder: str, loaded: "set[str]") -> str:
    """Make this child what a cold start would be, just before it runs the script; return the script's path."""
    import builtins
    import gc
    import types

    path = os.path.join(folder, argv[0])
    home = os.path.dirname(os.path.realpath(path))
    cold = [sys.executable, "--", *argv]
    if _shadows(home, loaded):
        os.execv(cold[0], cold)
    sys.argv, sys.orig_argv = argv, cold
    sys.path.insert(0, home)
    main = types.ModuleType("__main__")
    vars(main).update(__builtins__=builtins, __annotations__={})
    sys.modules["__main__"] = main
    for module, reseed in _RESEED.items():
        if module in sys.modules:
            reseed(sys.modules[module])
    gc.enable()
    return path


_RESEED: "dict[str, Callable[[Any], object]]" = {
    # The generators that these seed from the system when they are imported; Python does so for its own after a fork.
    "numpy.random": lambda module: module.seed(),
    "torch": lambda module: module.default_generator.seed(),
}


def _shadows(folder: str, loaded: "set[str]") -> bool:
    """Say whether a file next to the script would be imported in place of something that is loaded already."""
    import importlib.machinery

    suffixes = importlib.machinery.all_suffixes()
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name.partition(".")[0]
            if name in loaded and (entry.name[len(name) :] in suffixes or entry.is_dir()):
                return True
    return False


def _prctl(option: int, value: int) -> None:
    if _C.prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0))) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


if __name__ == "__main__":
    _C.fopen.restype = ctypes.c_void_p
    _run = ctypes.pythonapi.PyRun_SimpleFileExFlags
    _run.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
    _script = os.fsencode(serve(*sys.argv[1:]))
    _file = _C.fopen(_script, b"rb")
    if not _file:
        os.execv(sys.executable, sys.orig_argv)  # which says what is wrong
    # After an interrupt the interpreter ends itself by SIGINT, as soon as it gets here.
    if _run(_file, _script, 1, None) and sys.last_type is not KeyboardInterrupt:
        sys.exit(1)
