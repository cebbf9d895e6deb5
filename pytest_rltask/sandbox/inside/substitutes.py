"""What Python finds inside Landlock in place of what that takes away: locks, shared memory, and words for the rest.

Each Python of the agent's runs it at its start, as ``sitecustomize``; hence the standard library only, and few imports.
Semaphores and shared memory of ``multiprocessing`` become files of the sandbox's temporary folder, where the limits
on disk space count them, since ``/dev/shm`` would be the whole machine's. Tensors of torch travel between processes
as bytes, or as such files if they are shared. A process that may not read its own ``/proc`` is spared the attempt.
Whatever else is refused is explained below the traceback.

Nothing here protects anybody: an agent that undoes it harms its own programs alone.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType, TracebackType
    from typing import Any

_FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tmp")
_REFUSED = ("Permission denied", "Operation not permitted", "Address family not supported")
_SEMAPHORE_BYTES = 64  # of sem_t; 32 are the most that any libc takes


def install(notice: str) -> None:
    """Replace what is replaced, as soon as it is imported; ``notice`` says what this sandbox refuses."""
    sys.meta_path.insert(0, _Finder())
    for name in _CHANGES.keys() & sys.modules.keys():
        _CHANGES[name](sys.modules[name])
    os.register_at_fork(after_in_child=_avoid_proc)
    show = sys.excepthook

    def explain(kind: type[BaseException], error: BaseException, traceback: "TracebackType | None") -> None:
        show(kind, error, traceback)
        if _is_refusal(error):
            print(f"note: {notice}", file=sys.stderr)  # noqa: T201

    sys.excepthook = explain


def run_the_other_one() -> None:
    """Run the ``sitecustomize`` that ours has taken the place of, if there is one."""
    import importlib.machinery
    import importlib.util

    here = os.path.dirname(os.path.abspath(__file__))
    spec = importlib.machinery.PathFinder.find_spec(
        "sitecustomize", [folder for folder in sys.path if os.path.abspath(folder) != here]
    )
    if spec and spec.loader:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def _is_refusal(error: "BaseException | None") -> bool:
    for _ in range(10):  # of a chain, which may be a circle
        if error is None:
            return False
        if isinstance(error, (OSError, RuntimeError, ImportError)) and any(words in str(error) for words in _REFUSED):
            return True
        error = error.__cause__ or error.__context__
    return False


class _Finder:
    """Finds what others find, and has it changed right after its import."""

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Any":
        change = _CHANGES.get(name)
        if change is None:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec = find(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, change)
                return spec
        return None


class _Loader:
    """Another loader, and a change to the module that it has executed."""

    def __init__(self, loader: "Any", change: "Callable[[Any], None]") -> None:
        self._loader, self._change = loader, change

    def __getattr__(self, name: str) -> "Any":
        return getattr(self._loader, name)

    def create_module(self, spec: "Any") -> "ModuleType | None":
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: "Any") -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._change(module)


def _avoid_proc(module: "Any" = None) -> None:
    """Have threadpoolctl ask the linker which libraries are loaded, where ``/proc/self/maps`` is closed."""
    module = module or sys.modules.get("threadpoolctl")
    if hasattr(module, "_HAS_PROCFS"):
        module._HAS_PROCFS = _can_read("/proc/self/maps")


def _can_read(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError:
        return False
    return True


def _path_of(kind: str, name: str) -> str:
    return os.path.join(_FOLDER, f".{kind}.{name.strip('/').replace('/', '_')}")


def _change_shared_memory(module: "Any") -> None:
    """Give ``_posixshmem`` files of the temporary folder."""

    def shm_open(path: str, flags: int, mode: int = 0o777) -> int:
        return os.open(_path_of("shm", path), flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)

    def shm_unlink(path: str) -> None:
        os.unlink(_path_of("shm", path))

    module.shm_open, module.shm_unlink = shm_open, shm_unlink


def _change_semaphores(module: "Any") -> None:
    """Give ``_multiprocessing`` semaphores in files of the temporary folder."""
    module.SemLock, module.sem_unlink = _sem_lock(), lambda name: os.unlink(_path_of("sem", name))


def _change_users(module: "Any") -> None:
    """Have ``pwd`` know who we are, as the machine's list of users is closed and need not hold us."""
    find = module.getpwuid

    def getpwuid(uid: int) -> "Any":
        try:
            return find(uid)
        except KeyError:
            if uid != os.getuid():
                raise
        name, home = os.environ.get("USER", "agent"), os.environ.get("HOME", "/")
        return module.struct_passwd((name, "x", uid, os.getgid(), "", home, "/bin/sh"))

    module.getpwuid = getpwuid


def _change_heap(module: "Any") -> None:
    """Have arrays and values lie in the folder for temporary files too."""
    module.Arena._dir_candidates = []


def _change_listeners(module: "Any") -> None:
    """Have what needs a listening socket say so."""

    def refuse(self: "Any", *arguments: object) -> None:
        raise OSError("this sandbox has no sockets but connected pairs: use Pipe or Queue, not a Manager or Listener")

    module.SocketListener.__init__ = refuse


def _change_start_methods(module: "Any") -> None:
    """Have ``forkserver``, which listens at a socket, start processes as ``spawn`` does."""
    module.ForkServerProcess._Popen = staticmethod(module.SpawnProcess._Popen)


def _sem_lock() -> type:
    """Return a class like ``_multiprocessing.SemLock``, whose C source says what each method does."""
    import ctypes
    import errno
    import mmap
    import threading
    import time

    class Timespec(ctypes.Structure):
        _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    libc = ctypes.CDLL(None, use_errno=True)
    recursive_mutex = 0

    class SemLock:
        SEM_VALUE_MAX = 2**31 - 1

        def __init__(self, kind: int, value: int, maxvalue: int, name: str, unlink: bool) -> None:
            self.name: str | None
            self._open(kind, maxvalue, name, os.O_CREAT | os.O_EXCL)
            if libc.sem_init(ctypes.c_void_p(self.handle), 1, ctypes.c_uint(value)):
                raise OSError(ctypes.get_errno(), "sem_init")
            if unlink:
                os.unlink(_path_of("sem", name))
                self.name = None

        @classmethod
        def _rebuild(cls, handle: int, kind: int, maxvalue: int, name: str) -> "SemLock":
            self = cls.__new__(cls)
            self._open(kind, maxvalue, name, 0)
            return self

        def _open(self, kind: int, maxvalue: int, name: str, flags: int) -> None:
            self.kind, self.maxvalue, self.name = kind, maxvalue, name
            self._held, self._owner = 0, 0
            fd = os.open(_path_of("sem", name), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
            try:
                if flags:
                    os.ftruncate(fd, _SEMAPHORE_BYTES)
                # It keeps a descriptor, by which the size of a deleted file can be told.
                self._memory = mmap.mmap(fd, _SEMAPHORE_BYTES)
            finally:
                os.close(fd)
            self.handle = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
            self._semaphore = ctypes.c_void_p(self.handle)

        def acquire(self, block: bool = True, timeout: "float | None" = None) -> bool:
            if self.kind == recursive_mutex and self._is_mine():
                self._held += 1
                return True
            if not self._wait(block, timeout):
                return False
            self._held += 1
            self._owner = threading.get_ident()
            return True

        def _wait(self, block: bool, timeout: "float | None") -> bool:
            if libc.sem_trywait(self._semaphore) == 0:
                return True
            if timeout is not None:
                until = time.time() + max(0.0, timeout)
                deadline = ctypes.byref(Timespec(int(until), int(until % 1 * 1e9)))
            while block and (ctypes.get_errno() in (errno.EAGAIN, errno.EINTR)):
                waited = (
                    libc.sem_wait(self._semaphore) if timeout is None else libc.sem_timedwait(self._semaphore, deadline)
                )
                if waited == 0:
                    return True
            if ctypes.get_errno() in (errno.EAGAIN, errno.ETIMEDOUT):
                return False
            raise OSError(ctypes.get_errno(), "semaphore")

        def release(self) -> None:
            if self.kind == recursive_mutex:
                if not self._is_mine():
                    raise AssertionError("attempt to release recursive lock not owned by thread")
                if self._held > 1:
                    self._held -= 1
                    return
            elif self._get_value() >= self.maxvalue:
                raise ValueError("semaphore or lock released too many times")
            self._held -= 1  # first: the next owner, a thread of ours perhaps, begins with the post
            if libc.sem_post(self._semaphore):
                raise OSError(ctypes.get_errno(), "sem_post")

        def __enter__(self) -> bool:
            return self.acquire()

        def __exit__(self, *exception: object) -> None:
            self.release()

        def _count(self) -> int:
            return self._held

        def _is_mine(self) -> bool:
            return self._held > 0 and self._owner == threading.get_ident()

        def _get_value(self) -> int:
            value = ctypes.c_int()
            if libc.sem_getvalue(self._semaphore, ctypes.byref(value)):
                raise OSError(ctypes.get_errno(), "sem_getvalue")
            return value.value

        def _is_zero(self) -> bool:
            return self._get_value() == 0

        def _after_fork(self) -> None:
            self._held = 0

    return SemLock


_files: "dict[int, str]" = {}
"""Of torch's shared storages: where the data lie in memory, and in which file."""


def _change_torch(torch: "Any") -> None:
    """Have tensors be shared in files, and batches of workers made in ordinary memory."""

    def share_memory_(self: "Any") -> "Any":
        storage = self.untyped_storage()
        if storage.device.type != "cpu" or storage.nbytes() == 0 or storage.data_ptr() in _files:
            return self
        name = f"torch-{os.getpid()}-{len(_files)}-{os.urandom(4).hex()}"
        shared = _mapped(torch, _path_of("shm", name), storage.nbytes())
        shared.copy_(storage)
        with torch.no_grad():
            self.set_(shared, self.storage_offset(), self.size(), self.stride())
        return self

    def _new_shared(cls: "Any", size: int, *, device: str = "cpu") -> "Any":
        return cls(size, device=device)

    torch.Tensor.share_memory_ = share_memory_
    torch.UntypedStorage._new_shared = classmethod(_new_shared)


def _change_reductions(module: "Any") -> None:
    """Have storages sent to other processes as bytes, or as the names of the files that they lie in."""
    if not hasattr(module, "reduce_storage"):
        return
    reduce_other = module.reduce_storage

    def reduce_storage(storage: "Any") -> "Any":
        untyped = getattr(storage, "_untyped_storage", storage)
        if untyped.device.type != "cpu" or untyped.nbytes() == 0 or untyped is not storage:
            return reduce_other(storage)
        if path := _files.get(untyped.data_ptr()):
            return _storage_in, (path, untyped.nbytes())
        import torch

        return _storage_of, (torch.empty(0, dtype=torch.uint8).set_(untyped).numpy().tobytes(),)

    module.reduce_storage = reduce_storage


def _storage_of(data: bytes) -> "Any":
    import torch

    return torch.frombuffer(bytearray(data), dtype=torch.uint8).untyped_storage()


def _storage_in(path: str, size: int) -> "Any":
    import torch

    return _mapped(torch, path, size)


def _mapped(torch: "Any", path: str, size: int) -> "Any":
    storage = torch.UntypedStorage.from_file(path, True, size)
    _files[storage.data_ptr()] = path
    return storage


_CHANGES: "dict[str, Callable[[Any], None]]" = {
    "pwd": _change_users,
    "threadpoolctl": _avoid_proc,
    "_multiprocessing": _change_semaphores,
    "_posixshmem": _change_shared_memory,
    "multiprocessing.context": _change_start_methods,
    "multiprocessing.connection": _change_listeners,
    "multiprocessing.heap": _change_heap,
    "torch": _change_torch,
    "torch.multiprocessing.reductions": _change_reductions,
}
