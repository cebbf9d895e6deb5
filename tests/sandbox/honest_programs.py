"""The honest programs: what models write that learn, compute, and use the standard library and its processes."""

from __future__ import annotations

from tests.sandbox.honest import Program, under
from tests.sandbox.honest_learning import LEARNING
from tests.sandbox.honest_processes import PROCESSES

__all__ = ["PROGRAMS"]

FILES = {
    "tempfile": Program("""
        import os, tempfile
        with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(b"x"); file.flush(); print(os.path.getsize(file.name))
        with tempfile.TemporaryFile() as file, tempfile.SpooledTemporaryFile(max_size=1) as other:
            print(file.write(b"abc"), other.write(b"abc"), os.access(tempfile.gettempdir(), os.W_OK))
        """),
    "a file in /tmp": Program(
        """
        import os
        with open(f"/tmp/honest-{os.getpid()}", "w") as file: file.write("x")
        os.unlink(file.name); print("written")
        """,
        differs={"closed /tmp under landlock": under("landlock")},
    ),
    "sqlite3": Program(
        """
        import sqlite3
        with sqlite3.connect("results.db") as db:
            db.execute("create table t (a, b)"); db.executemany("insert into t values (?, ?)", [(1, "x"), (2, "y")])
        print(db.execute("select count(*), max(b) from t").fetchall())
        """,
        same_files=False,
    ),
    "logging to a file": Program("""
        import logging
        logging.basicConfig(filename="train.log", level="INFO", format="%(levelname)s %(message)s")
        logging.info("epoch %d", 1); logging.getLogger("a.b").warning("careful")
        print(open("train.log").read())
        """),
    "pickle and json": Program("""
        import json, pickle
        pickle.dump({"a": [1, 2.5]}, open("a.pkl", "wb")); print(pickle.load(open("a.pkl", "rb")))
        json.dump({"ä": 1}, open("a.json", "w"), ensure_ascii=False); print(json.load(open("a.json")))
        """),
    "zipfile and shutil": Program(
        """
        import shutil, tarfile, zipfile
        with zipfile.ZipFile("a.zip", "w") as file: file.writestr("b.txt", "b")
        zipfile.ZipFile("a.zip").extractall("out"); print(open("out/b.txt").read())
        shutil.make_archive("packed", "gztar", "out"); print(tarfile.open("packed.tar.gz").getnames())
        shutil.copytree("out", "copy"); shutil.copy("out/b.txt", "c.txt")
        shutil.rmtree("out"); shutil.move("copy", "moved")
        """,
        same_files=False,
    ),
    "pathlib": Program("""
        from pathlib import Path
        path = Path("a") / "b.txt"; path.parent.mkdir(); path.write_text("text"); path.touch()
        Path("new").touch(); path.rename("c.txt"); Path("link").symlink_to("c.txt"); Path("d.txt").hardlink_to("c.txt")
        print(sorted(p.name for p in Path().iterdir()), Path("link").read_text(), Path("c.txt").stat().st_nlink)
        Path("c.txt").chmod(0o600); Path("d.txt").unlink(); Path("link").unlink()
        """),
    "chmod": Program(
        """
        import os, stat, subprocess
        open("run.sh", "w").write("#!/bin/sh\\necho ran\\n"); os.chmod("run.sh", 0o755)
        print(stat.filemode(os.stat("run.sh").st_mode))
        """,
        differs={"modes and times under landlock": under("landlock", as_user=True)},
    ),
    "os.utime": Program(
        """
        import os, shutil
        open("a", "w").close(); os.utime("a", (1_000_000_000, 1_000_000_000)); print(os.stat("a").st_mtime)
        shutil.copy2("a", "b"); print(os.stat("b").st_mtime)
        """,
        differs={"modes and times under landlock": under("landlock", as_user=True)},
    ),
    "a second module and a package": Program(
        """
        import helper
        from package.sub import VALUE
        from package import data
        print(helper.name, VALUE, data.read(), __file__.endswith("script.py"), helper.__file__.endswith("helper.py"))
        """,
        files={
            "helper.py": "name = __name__",
            "package/__init__.py": "",
            "package/sub.py": "VALUE = 7",
            "package/data.py": "import os\ndef read(): return open(os.path.dirname(__file__) + '/d.txt').read()",
            "package/d.txt": "data",
        },
    ),
    "unicode file names": Program("""
        import os
        for name in ("größe.txt", "数据.csv", "a b'c.txt"): open(name, "w").write(name)
        print(sorted(os.listdir(".")), open("数据.csv").read())
        """),
    "a memory map and a lock on a file": Program("""
        import fcntl, mmap
        with open("data.bin", "w+b") as file:
            file.write(bytes(8192)); file.flush(); fcntl.flock(file, fcntl.LOCK_EX)
            with mmap.mmap(file.fileno(), 0) as memory: memory[0:3] = b"abc"
        print(open("data.bin", "rb").read(4), fcntl.LOCK_EX)
        """),
}

PYTHON = {
    "mimetypes and pip's look at the system": Program("""
        import mimetypes
        from pip._vendor import distro
        print(mimetypes.guess_type("a.csv"), distro.id(), distro.version(best=True))
        """),
    "main": Program("""
        import sys
        def main(): print(__name__, sys.argv[1:], sys.flags.optimize, sys.stdin.read() == "")
        if __name__ == "__main__": sys.exit(main())
        """),
    "input()": Program("name = input('Name? ')"),
    "an exception with a cause": Program("""
        def load():
            try: open("missing.csv")
            except OSError as error: raise ValueError("no data") from error
        load()
        """),
    "exit codes": Program("import sys\nprint('out'); print('err', file=sys.stderr); sys.exit('failed for a reason')"),
    "warnings as errors": Program("""
        import warnings
        warnings.simplefilter("error")
        try: warnings.warn("old", DeprecationWarning)
        except DeprecationWarning as error: print("raised", error)
        warnings.simplefilter("always"); warnings.warn("seen")
        """),
    "signal.alarm": Program("""
        import signal, time
        def late(number, frame): raise TimeoutError("late")
        signal.signal(signal.SIGALRM, late); signal.setitimer(signal.ITIMER_REAL, 0.1)
        try: time.sleep(30)
        except TimeoutError as error: print(error)
        """),
    "resource.getrusage": Program("""
        import os, resource, time
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 1000)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE); resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        print(os.nice(0) >= 0, len(os.sched_getaffinity(0)) > 0, time.process_time() > 0, os.cpu_count() > 0)
        """),
    "psutil": Program(
        """
        import psutil
        me = psutil.Process()
        print(me.memory_info().rss > 0, me.name() != "", me.cpu_percent() >= 0, psutil.cpu_count() > 0)
        print(psutil.virtual_memory().total > 0, me.num_threads() > 0)
        """,
        needs=("psutil",),
    ),
    "psutil: children": Program(
        "import psutil; print(psutil.Process().children())",
        needs=("psutil",),
        differs={"no /proc of others under landlock": under("landlock")},
    ),
    "python -m pytest": Program(
        """
        import subprocess, sys
        ran = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "--no-header"],
                             capture_output=True, text=True)
        print(ran.returncode, ran.stdout.splitlines()[0], ran.stdout.splitlines()[-1].partition(" in ")[0], ran.stderr)
        """,
        files={
            "test_mine.py": """
            import pytest
            @pytest.mark.parametrize("n", [1, 2])
            def test_mine(n, tmp_path, capsys, monkeypatch):
                (tmp_path / "a").write_text("x"); print("hello"); assert capsys.readouterr().out == "hello\\n"
            """
        },
        same_files=False,
    ),
    "pytest in the script": Program(
        """
        import pytest, sys
        sys.exit(pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", "test_mine.py", "-q"]))
        """,
        files={"test_mine.py": "def test_mine(): assert True"},
    ),
    "python -m unittest": Program(
        """
        import subprocess, sys
        ran = subprocess.run([sys.executable, "-m", "unittest", "test_it"], capture_output=True, text=True)
        print(ran.returncode, ran.stderr.splitlines()[-1])
        """,
        files={
            "test_it.py": """
            import unittest
            class TestIt(unittest.TestCase):
                def test_it(self): self.assertEqual(1, 1)
            """
        },
    ),
    "pip list": Program(
        """
        import subprocess, sys
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "list"]
        ran = subprocess.run(command, capture_output=True, text=True)
        print(ran.returncode, ran.stdout, ran.stderr)
        """,
        needs=("pip",),
    ),
    "versions of packages": Program("""
        import importlib.metadata as m, importlib.util, inspect, json
        print(m.version("pytest"), importlib.util.find_spec("pluggy") is not None, len(inspect.getsource(json)) > 100)
        """),
    "locale and time zone": Program("""
        import datetime, locale, os, sys, time, zoneinfo
        locale.setlocale(locale.LC_ALL, "")
        print(locale.getlocale(), time.tzname, sys.getfilesystemencoding(), sys.stdout.encoding, os.environ["LANG"])
        print(datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")).isoformat(), time.strftime("%Z"))
        """),
    "a megabyte of output": Program("""
        import sys
        for number in range(16_000): print(f"line {number:05d} " + "x" * 52)
        sys.stderr.write("e" * 200_000)
        """),
    "who am I": Program("""
        import getpass, os, pathlib, platform
        print(getpass.getuser() != "", pathlib.Path.home().is_dir(), platform.system(), os.access(".", os.W_OK))
        print(os.path.expanduser("~") == os.environ["HOME"], os.getcwd() == os.path.dirname(os.path.abspath(__file__)))
        """),
    "hashes and random numbers": Program("""
        import hashlib, os, random, secrets, uuid
        random.seed(0); print(random.random(), hash("a"), hashlib.sha256(b"a").hexdigest()[:8], len(os.urandom(8)))
        print(len(secrets.token_hex(4)), uuid.UUID(int=1), len(str(uuid.uuid4())))
        """),
    "faulthandler and tracing": Program("""
        import cProfile, faulthandler, io, pstats, timeit, tracemalloc
        faulthandler.enable(); tracemalloc.start(); profile = cProfile.Profile()
        print(profile.runcall(sum, range(9)), timeit.timeit("1", number=10) > 0, tracemalloc.get_traced_memory()[1] > 0)
        """),
}

PROGRAMS = {**LEARNING, **PROCESSES, **FILES, **PYTHON}
"""All of them, by name."""
