"""Honest programs that use processes, threads and what these talk through."""

from __future__ import annotations

from tests.sandbox.honest import Program, under

PROCESSES = {
    "multiprocessing.Pool": Program("""
        import multiprocessing as mp
        def square(x): return x * x
        if __name__ == "__main__":
            for method in ("fork", "spawn", "forkserver"):
                with mp.get_context(method).Pool(2) as pool:
                    print(method, pool.map(square, range(5)))
        """),
    "ProcessPoolExecutor": Program("""
        from concurrent.futures import ProcessPoolExecutor
        def square(x): return x * x
        if __name__ == "__main__":
            with ProcessPoolExecutor(2) as pool: print(list(pool.map(square, range(5))))
        """),
    "locks and queues": Program("""
        import multiprocessing as mp
        def work(lock, queue, total, number):
            with lock: total.value += number
            queue.put(number)
        if __name__ == "__main__":
            for method in ("fork", "spawn"):
                c = mp.get_context(method)
                lock, queue, total = c.Lock(), c.Queue(), c.Value("i", 0, lock=False)
                workers = [c.Process(target=work, args=(lock, queue, total, n)) for n in range(3)]
                for w in workers: w.start()
                print(sorted(queue.get() for _ in workers))
                for w in workers: w.join()
                print(total.value, [w.exitcode for w in workers])
            event, limited, again = mp.Event(), mp.BoundedSemaphore(1), mp.RLock()
            print(event.wait(0.05), limited.acquire(), limited.acquire(timeout=0.05), again.acquire(), again.acquire())
            limited.release()
            try: limited.release()
            except ValueError as error: print(error)
            ready = mp.Condition()
            with ready: print(ready.wait(0.05))
        """),
    "shared_memory": Program(
        """
        import multiprocessing as mp
        from multiprocessing import shared_memory
        import numpy as np
        def double(name):
            block = shared_memory.SharedMemory(name=name)
            array = np.ndarray(4, dtype=np.int64, buffer=block.buf)
            array *= 2
            del array
            block.close()
        if __name__ == "__main__":
            block = shared_memory.SharedMemory(create=True, size=32)
            array = np.ndarray(4, dtype=np.int64, buffer=block.buf)
            array[:] = range(4)
            worker = mp.Process(target=double, args=(block.name,)); worker.start(); worker.join()
            print(array.tolist()); del array; block.close(); block.unlink()
            print(mp.Array("d", [1, 2])[:])
        """,
        needs=("numpy",),
    ),
    "multiprocessing.Manager": Program(
        """
        import multiprocessing as mp
        if __name__ == "__main__":
            with mp.Manager() as manager: print(dict(manager.dict(a=1)))
        """,
        differs={"no servers under landlock": under("landlock")},
    ),
    "asyncio with subprocesses": Program("""
        import asyncio, sys
        async def main():
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(6 * 7)", stdout=-1)
            print((await process.communicate())[0], process.returncode)
            print(await asyncio.to_thread(sum, range(10)), await asyncio.wait_for(asyncio.sleep(0, "slept"), 5))
        asyncio.run(main())
        """),
    "threading": Program("""
        import queue, threading
        done, lock = queue.Queue(), threading.Lock()
        threads = [threading.Thread(target=lambda n=n: done.put(n), daemon=n > 1) for n in range(4)]
        for t in threads: t.start()
        for t in threads: t.join()
        print(sorted(done.get() for _ in threads), threading.active_count())
        """),
    "subprocess of sys.executable": Program(
        """
        import subprocess, sys
        print(subprocess.run([sys.executable, "helper.py", "ä"], capture_output=True, text=True, check=True).stdout)
        print(subprocess.run([sys.executable, "-c", "import sys; sys.exit(3)"]).returncode)
        """,
        files={"helper.py": "import sys; print(sys.argv[1:], __name__)"},
    ),
    "subprocess of sh": Program("""
        import os, subprocess
        print(subprocess.check_output("echo one; echo two | tr a-z A-Z; exit 0", shell=True, text=True))
        print(os.system("test -f script.py && echo found"), os.popen("echo three").read())
        """),
    "subprocess of ls": Program("""
        import subprocess
        print(subprocess.run(["ls", "-1"], capture_output=True, text=True).stdout)
        print(subprocess.run(["wc", "-c", "script.py"], capture_output=True, text=True).returncode)
        """),
    "children collected in order": Program("""
        import subprocess, sys
        children = [subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({s})"]) for s in (1, 0, 0.1)]
        print([child.wait() for child in children])
        """),
    "a pipe between programs": Program("""
        import subprocess
        first = subprocess.Popen(["echo", "b\\na"], stdout=subprocess.PIPE)
        second = subprocess.Popen(["sh", "-c", "sleep 0.5; sort"], stdin=first.stdout, stdout=subprocess.PIPE)
        first.stdout.close()
        print(second.communicate()[0], first.wait())
        """),
    "a daemon by double fork": Program("""
        import os, time
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(0.6); os.write(writer, b"done"); os._exit(0)
            os._exit(0)
        print(os.read(reader, 4))
        """),
    "a server on loopback": Program(
        """
        import http.server, threading, urllib.request
        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *words): pass
        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.handle_request, daemon=True).start()
        print(urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/script.py").status)
        """,
        differs={"no network": under("bwrap", "landlock", "docker")},
    ),
    "signals as at the start": Program("""
        import signal, subprocess
        for name in ("SIGINT", "SIGHUP", "SIGTERM", "SIGQUIT"): print(name, signal.getsignal(getattr(signal, name)))
        print(subprocess.run("kill -HUP $$; echo survived", shell=True, capture_output=True, text=True))
        """),
    "a socket pair": Program("""
        import socket
        one, other = socket.socketpair(); one.sendall(b"x"); print(other.recv(1), socket.gethostname() != "")
        """),
    "kill a child": Program("""
        import signal, subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        child.terminate(); print(child.wait() == -signal.SIGTERM)
        try: subprocess.run(["sleep", "60"], timeout=0.2)
        except subprocess.TimeoutExpired as error: print(error.cmd)
        """),
    "read /proc": Program("""
        import os, subprocess, sys
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        print(status["Name"].strip() != "", len(os.listdir("/proc/self/fd")) > 2, open("/proc/self/maps").read() != "")
        print(open("/proc/cpuinfo").read() != "", open("/proc/meminfo").read().startswith("MemTotal"))
        """),
    "a child reads /proc": Program(
        """
        import subprocess, sys
        child = subprocess.run([sys.executable, "-c", "print(open('/proc/self/status').readline()[:5])"],
                               capture_output=True, text=True)
        print(child.stdout, child.stderr)
        """,
        differs={"no /proc of others under landlock": under("landlock")},
    ),
}
