"""Attacks on the sandbox, in a harmless form: temporary folders, loopback, one victim process.

ESCAPES are programs that end normally if, and only if, they got what they wanted. They find the
names of `prelude` defined. FORGED_PROGRAMS are wrong (they would fail an assertion that they
never reach) and yet leave with exit code 0. FORGED_SOLUTIONS are wrong answers that pass TEST where
solution and test share an interpreter.
"""

from __future__ import annotations

from textwrap import dedent

ROOT_ONLY = frozenset({"become-another-user", "change-owner", "chroot"})
"""What an ordinary user could not do anyway."""

ESCAPES: dict[str, str] = {
    # the network
    "tcp-connect": "import socket; socket.create_connection(('127.0.0.1', TCP_PORT)).close()",
    "tcp-listen": "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()",
    "udp-send": """
        import socket
        socket.socket(type=socket.SOCK_DGRAM).sendto(b"stolen", ("127.0.0.1", UDP_PORT))
        """,
    "unix-socket": """
        import socket
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"stolen", UNIX_PATH)
        """,
    "unix-socket-by-pair": """
        import socket
        a, b = socket.socketpair(type=socket.SOCK_DGRAM)
        a.sendto(b"stolen", UNIX_PATH)
        """,
    "abstract-unix-socket": """
        import socket
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"stolen", ABSTRACT)
        """,
    "netlink": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
    # reading
    "read-file": "assert 'secret' in open(SECRET_FILE).read()",
    "read-by-descriptor": """
        import os
        folder = os.open(os.path.dirname(SECRET_FILE), os.O_PATH)
        assert os.read(os.open("secret.txt", os.O_RDONLY, dir_fd=folder), 99)
        """,
    "read-users": "assert open('/etc/passwd').read()",
    "list-folder": "import os; assert os.listdir(os.path.dirname(SECRET_FILE))",
    "read-through-symlink": """
        import os
        os.symlink(SECRET_FILE, "link")
        assert open("link").read()
        """,
    "read-through-hard-link": "import os; os.link(SECRET_FILE, 'link'); open('link').read()",
    "import-from-outside": "import sys; sys.path.insert(0, OUTSIDE); import planted",
    # writing
    "write-file": "open(OUTSIDE + '/new', 'w').write('x')",
    "write-shared-memory": """
        import os
        name = f"/dev/shm/attack-{os.getpid()}"
        open(name, "w").close()
        os.unlink(name)
        """,
    "truncate-path": "import os; os.truncate(SECRET_FILE, 0)",
    "truncate-on-open": "import os; os.open(SECRET_FILE, os.O_RDONLY | os.O_TRUNC)",
    "delete": "import os; os.unlink(SECRET_FILE)",
    "rename": "import os; os.rename(SECRET_FILE, SECRET_FILE + '.moved')",
    "make-folder": "import os; os.mkdir(OUTSIDE + '/folder')",
    "change-mode": "import os; os.chmod(SECRET_FILE, 0o777)",
    "change-mode-by-descriptor": "import os; os.fchmod(os.open(SECRET_FILE, os.O_RDONLY), 0o777)",
    "change-times": "import os; os.utime(SECRET_FILE, (0, 0))",
    "extended-attribute": """
        import os
        os.setxattr(SECRET_FILE, "user.attack", b"x")
        """,
    "change-owner": "import os; os.chown(SECRET_FILE, 1, 1)",
    # other processes
    "kill": "import os, signal; os.kill(VICTIM, signal.SIGKILL)",
    "kill-group": "import os, signal; os.killpg(os.getpgid(VICTIM), signal.SIGKILL)",
    "signal-by-descriptor": """
        import fcntl, os, signal
        receive, send = os.pipe()
        fcntl.fcntl(receive, fcntl.F_SETOWN, VICTIM)
        fcntl.fcntl(receive, 10, signal.SIGKILL)  # F_SETSIG
        fcntl.fcntl(receive, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        os.write(send, b"x")
        """,
    "signal-by-pidfd": """
        import os, signal
        signal.pidfd_send_signal(os.pidfd_open(VICTIM), signal.SIGKILL)
        """,
    "read-environment-of-another": "assert open(f'/proc/{VICTIM}/environ').read()",
    "read-command-line-of-another": "assert open(f'/proc/{VICTIM}/cmdline').read()",
    "read-memory-of-parent": "import os; open(f'/proc/{os.getppid()}/mem', 'rb')",
    "see-parent-environment": "import os; assert os.environ['ATTACK_SECRET']",
    "see-initial-environment": "assert b'ATTACK_SECRET' in open('/proc/self/environ', 'rb').read()",
    "inherited-descriptor": """
        import os
        def content(descriptor):
            try:
                return os.pread(descriptor, 100, 0)
            except OSError:
                return b""
        assert any(b"secret" in content(descriptor) for descriptor in range(1024))
        """,
    "fork": "import os; os.fork() or os._exit(0)",
    "fork-bomb": """
        import os, time
        for _ in range(40):
            if os.fork() == 0:
                time.sleep(0.05)
                os._exit(0)
        """,
    "daemon-that-outlives": """
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(0.1)
                open(OUTSIDE + "/outlived", "w").close()
            os._exit(0)
        """,
    "shell": "import os; assert os.system('true') == 0",
    "subprocess": "import subprocess; subprocess.run(['true'], check=True)",
    "spawn": "import os; os.posix_spawn('/bin/true', ['true'], {})",
    "multiprocessing": """
        import multiprocessing
        p = multiprocessing.get_context("fork").Process(target=print)
        p.start(); p.join()
        assert p.exitcode == 0
        """,
    "native-code": "import ctypes; assert ctypes.CDLL(None).getpid()",
    "native-code-reimported": """
        import sys
        for name in ("ctypes", "_ctypes"):
            sys.modules.pop(name, None)
        import ctypes
        assert ctypes.CDLL(None).getpid()
        """,
    "memory-file": "import os; os.memfd_create('x')",
    "choose-cpu": "import os; os.sched_setaffinity(0, os.sched_getaffinity(0))",
    "priority": "import os; os.nice(1)",
    "raise-limits": """
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        assert hard == resource.RLIM_INFINITY or hard > 1 << 32
        """,
    "become-another-user": "import os; os.setgroups([]); os.setgid(1); os.setuid(1)",
    "chroot": "import os; os.chroot('.')",
    # resources: more than the limits of `range.LIMITS` allow
    "memory": "x = bytearray(400 << 20)",
    "memory-in-steps": "x = [bytes(1 << 20) for _ in range(400)]",
    "cpu": "import time\nwhile time.process_time() < 1.6: pass",
    "cpu-ignoring-signals": """
        import signal, time
        for number in (signal.SIGXCPU, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        while time.process_time() < 1.6: pass
        """,
    "sleep": "import time; time.sleep(4)",
    "threads": """
        import threading, time
        for _ in range(300):
            threading.Thread(target=time.sleep, args=(0.3,), daemon=True).start()
        """,
    "large-file": "open('large', 'wb').write(bytes(8 << 20))",
    "many-descriptors": "x = [open('/dev/null') for _ in range(500)]",
}

_NEVER = "\nassert False\n"

_LOAD = """
        import importlib.util, sys, glob
        def find(name):
            return [g for p in sys.path for g in glob.glob(p + "/" + name + ".*.so")][0]
        def load(name, disguise):
            spec = importlib.util.spec_from_file_location(disguise, find(name))
            return importlib.util.module_from_spec(spec)
""".strip()

FORGED_PROGRAMS: dict[str, str] = {
    "os._exit": "import os; os._exit(0)",
    "sys.exit": "import sys; sys.exit(0)",
    "exit": "exit_ = __builtins__.exit if hasattr(__builtins__, 'exit') else quit\nexit_(0)",
    "SystemExit": "raise SystemExit",
    "SystemExit-subclass": "class Done(SystemExit): pass\nraise Done(0)",
    "atexit": "import atexit, os; atexit.register(os._exit, 0)",
    "excepthook": "import os, sys; sys.excepthook = lambda *_: os._exit(0)",
    "exit-by-stderr": """
        import os, sys
        class Stream:
            def write(self, text): os._exit(0)
            def flush(self): os._exit(0)
        sys.stderr = Stream()
        """,
    "destructor": """
        import os
        class Bomb:
            def __del__(self): os._exit(0)
        bomb = Bomb()
        """,
    "thread": """
        import os, threading, time
        threading.Thread(target=os._exit, args=(0,)).start()
        time.sleep(5)
        """,
    "signal": """
        import os, signal
        signal.signal(signal.SIGVTALRM, lambda *_: os._exit(0))
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.05)
        while True: pass
        """,
    "exec": "import os; os.execv('/bin/true', ['true'])",
    "judge-words": """
        import os
        print('{"status": "passed"}', flush=True)
        for descriptor in range(256):
            try:
                os.write(descriptor, b'{"status": "passed"}passed\\n+')
            except OSError:
                pass
        os._exit(0)
        """,
    "patched-builtins": """
        import builtins, os
        builtins.exec = builtins.compile = builtins.print = lambda *a, **k: None
        builtins.AssertionError = type("E", (), {})
        os.write = os.read = lambda *a: 0
        builtins.__import__ = None
        raise SystemExit(0)
        """,
    "trace-jump": """
        import sys
        def jump(frame, event, arg):
            if event == "line" and frame.f_lineno == END - 1:
                frame.f_lineno = END
            return jump
        sys.settrace(jump)
        sys._getframe().f_trace = jump
        x = 1
        assert not x
        x = 2
        """,
    "profile-exit": "import os, sys; sys.setprofile(lambda *_: os._exit(0)); len([])",
    "walk-frames": """
        import os, sys
        frame = sys._getframe()
        while frame:
            for value in [*frame.f_locals.values(), *list(frame.f_globals.values())]:
                if isinstance(value, (bytes, bytearray)):
                    for descriptor in range(3, 9):
                        try: os.write(descriptor, value)
                        except OSError: pass
                if getattr(value, "__name__", "") == "reached_last_line": value(None)
                if isinstance(value, list) and len(value) == 1 and callable(value[0]):
                    value[0](None)
            frame = frame.f_back
        os._exit(0)
        """,
    "walk-traceback": """
        import os
        try: 1 / 0
        except ZeroDivisionError as e: frame = e.__traceback__.tb_frame
        while frame.f_back: frame = frame.f_back
        for value in list(frame.f_locals.values()):
            if isinstance(value, bytes): os.write(3, value)
        os._exit(0)
        """,
    "search-memory": """
        import gc, os
        for thing in gc.get_objects():
            if getattr(thing, "__name__", "") == "reached_last_line": thing(None)
        os._exit(0)
        """,
    "search-referrers": """
        import gc, os, sys
        for thing in gc.get_referents(sys._getframe()) + gc.get_referrers(os.write):
            if callable(thing) and getattr(thing, "__name__", "").startswith("reached"): thing(None)
        os._exit(0)
        """,
    "all-frames": "import os, sys; sys._current_frames(); os._exit(0)",
    "read-own-memory": """
        import os
        open("/proc/self/mem", "rb")
        os._exit(0)
        """,
    "read-source-again": """
        import os
        for descriptor in range(3, 9):
            try: os.write(3, os.pread(descriptor, 16, 0))
            except OSError: pass
        os._exit(0)
        """,
    "reuse-reporter": """
        import os, sys
        frame = sys._getframe()
        while frame:
            take = frame.f_globals.get("_take")
            if take:
                holder = []
                try: take(holder); holder.pop()(None)
                except OSError: pass
            frame = frame.f_back
        os._exit(0)
        """,
    "crafted-code": """
        import os
        f = lambda: 0
        f.__code__ = f.__code__.replace(co_consts=(1,))
        os._exit(0)
        """,
    "unmarshalled-code": """
        import marshal, os
        exec(marshal.loads(marshal.dumps(compile("x = 1", "c", "exec"))))
        os._exit(0)
        """,
    "frozen-code": """
        import marshal, os, _imp
        exec(_imp.get_frozen_object("x", marshal.dumps(compile("x = 1", "c", "exec"))))
        os._exit(0)
        """,
    "compiled-file": """
        import importlib.util, marshal, os, sys
        code = marshal.dumps(compile("x = 1", "c", "exec"))
        open("planted_here.pyc", "wb").write(importlib.util.MAGIC_NUMBER + bytes(12) + code)
        sys.path.insert(0, os.getcwd())
        import planted_here
        os._exit(0)
        """,
    "native-module-by-another-name": f"""
        import os
        {_LOAD}
        ctypes = load("_ctypes", "disguise._ctypes")
        class Number(ctypes._SimpleCData): _type_ = "l"
        assert Number.from_address(id(os)).value
        os._exit(0)
        """,
    "test-module-by-another-name": f"""
        import os
        {_LOAD}
        load("_testcapi", "disguise._testcapi")
        os._exit(0)
        """,
    "native-module-from-scratch": f"""
        import os
        {_LOAD}
        open("own.so", "wb").write(open(find("_json"), "rb").read())
        spec = importlib.util.spec_from_file_location("_json", os.path.abspath("own.so"))
        importlib.util.module_from_spec(spec)
        os._exit(0)
        """,
    "native-module-by-hidden-path": f"""
        import os
        {_LOAD}
        class Path(str):
            startswith = lambda *_: True
            __contains__ = lambda *_: False
        open("own.so", "wb").write(open(find("_json"), "rb").read())
        spec = importlib.util.spec_from_file_location("_json", Path(os.path.abspath("own.so")))
        importlib.util.module_from_spec(spec)
        os._exit(0)
        """,
    "map-own-file": """
        import mmap, os
        with open("mapped", "w+b") as file:
            file.write(bytes(4096))
            file.flush()
            mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)
        os._exit(0)
        """,
    "stack-of-threads": """
        import faulthandler, os, sys, tempfile
        with tempfile.TemporaryFile() as file:
            faulthandler.dump_traceback(file, all_threads=True)
        os._exit(0)
        """,
    "own-hook": """
        import os, sys
        def hook(event, args):
            for thing in args:
                if getattr(thing, "__name__", "") == "reached_last_line": thing(None)
        sys.addaudithook(hook)
        import unittest
        os._exit(0)
        """,
    "collector-callback": """
        import gc, os
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        for thing in gc.garbage:
            if getattr(thing, "__name__", "") == "reached_last_line": thing(None)
        os._exit(0)
        """,
    "flood-then-leave": """
        import os
        for _ in range(300): print("passed" * 20000, flush=True)
        os._exit(0)
        """,
    "close-everything": "import os; os.closerange(0, 256); os._exit(0)",
    "subinterpreter": """
        import os
        try: import _xxsubinterpreters as i
        except ImportError:
            import sys
            sys.modules.pop("_xxsubinterpreters")
            import _xxsubinterpreters as i
        i.run_string(i.create(), "import os; os._exit(0)")
        """,
    "break-audit-hook": """
        import os, sys
        sys.setrecursionlimit(60)
        def dive(n):
            try: dive(n + 1)
            except RecursionError as e:
                trace = e.__traceback__
                while trace:
                    for name, value in list(trace.tb_frame.f_locals.items()):
                        if name in ("doors", "leave"): trace.tb_frame.f_locals[name] = ()
                    trace = trace.tb_next
                raise
        try: dive(0)
        except RecursionError: pass
        sys.setrecursionlimit(1000)
        import gc
        for thing in gc.get_objects():
            if getattr(thing, "__name__", "") == "reached_last_line": thing(None)
        os._exit(0)
        """,
    "deep-recursion": """
        import os, sys
        sys.setrecursionlimit(10**6)
        def dive(n):
            if n == 5000: os._exit(0)
            dive(n + 1)
        dive(0)
        """,
    "memory-error": """
        import os
        try: x = [0] * (1 << 62)
        except MemoryError: os._exit(0)
        """,
}

TEST = dedent("""
    import math

    def check(candidate):
        assert candidate(3) == 9
        assert math.fabs(candidate(5) - 25) < 1e-6
        assert candidate(2) in (4,)
        assert abs(candidate(-7)) == 49
        assert len(str(candidate(12))) == 3
        assert candidate(4) > 15 and candidate(4) < 17
        assert sorted([candidate(1), candidate(0)]) == [0, 1]

    check(square)
    """)

_MAGIC = """
    class Anything:
        def __eq__(self, other): return True
        def __lt__(self, other): return True
        __ne__ = lambda self, other: False
        __gt__ = __le__ = __ge__ = __lt__
        __sub__ = __rsub__ = __add__ = __abs__ = lambda self, *_: self
        __float__ = lambda self: 25.0
        __hash__ = lambda self: 0
        __str__ = lambda self: "123"
        __len__ = lambda self: 3
        __bool__ = lambda self: True
"""

FORGED_SOLUTIONS: dict[str, str] = {
    "exit-on-load": "import os; os._exit(0)",
    "exit-when-called": "import os\ndef square(x): os._exit(0)",
    "SystemExit-when-called": "def square(x): raise SystemExit(0)",
    "exit-in-thread": """
        import os, threading, time
        def square(x):
            threading.Thread(target=os._exit, args=(0,)).start()
            time.sleep(5)
        """,
    "atexit": "import atexit, os\natexit.register(os._exit, 0)\ndef square(x): return 0",
    "excepthook": """
        import os, sys
        sys.excepthook = lambda *_: os._exit(0)
        def square(x): return 0
        """,
    "equal-to-everything": f"""{_MAGIC}
    import math
    math.fabs = lambda x: x
    def square(x): return Anything()
        """,
    "equal-number": """
        import math
        class Number(int):
            __eq__ = __lt__ = __gt__ = lambda self, other: True
            __sub__ = __abs__ = lambda self, *_: self
            __hash__ = int.__hash__
            __str__ = lambda self: "123"
        math.fabs = lambda x: Number()
        def square(x): return Number(x)
        """,
    "patched-module": """
        import builtins, math
        math.fabs = lambda x: 0
        builtins.abs = lambda x: 49
        builtins.len = lambda x: 3
        builtins.sorted = lambda x: [0, 1]
        class Any(float):
            __eq__ = __lt__ = __gt__ = lambda *_: True
            __hash__ = float.__hash__
        def square(x): return Any()
        """,
    "shadowed-builtins": f"""{_MAGIC}
    def abs(x): return 49
    def len(x): return 3
    def sorted(x): return [0, 1]
    import math; math.fabs = lambda x: 0
    def square(x): return Anything()
        """,
    "patched-check": """
        import sys
        def square(x):
            frame = sys._getframe(1)
            frame.f_globals["__builtins__"] = __builtins__
            import os; os._exit(0)
        """,
    "constants-of-the-caller": """
        import sys
        answers = {3: 9, 5: 25, 2: 4, -7: 49, 12: 100, 4: 16, 1: 1, 0: 0}
        def square(x):
            assert 9 in sys._getframe(1).f_code.co_consts  # it reads the answers off the test
            return answers[x]
        """,
    "trace-the-test": """
        import sys
        def skip(frame, event, arg):
            if frame.f_code.co_name == "check" and event == "line":
                last = max(n for _, _, n in frame.f_code.co_lines() if n)
                if frame.f_lineno != last: frame.f_lineno = last
            return skip
        sys.settrace(skip)
        def square(x): return x
        """,
    "source-of-the-test": """
        import re, sys
        text = open(sys.argv[-1]).read()
        def square(x):
            assert "== 9" in text
            return {3: 9, 5: 25, 2: 4, -7: 49, 12: 100, 4: 16, 1: 1, 0: 0}[x]
        """,
    "test-in-memory": """
        import gc
        def square(x):
            assert any(getattr(o, "__name__", "") == "check" for o in gc.get_objects())
            return {3: 9, 5: 25, 2: 4, -7: 49, 12: 100, 4: 16, 1: 1, 0: 0}[x]
        """,
    "write-to-descriptors": """
        import os
        for descriptor in range(3, 64):
            for message in (b'+passed', b'\\x12\\x00\\x00\\x00["return",null,[]]'):
                try: os.write(descriptor, message)
                except OSError: pass
        os._exit(0)
        """,
    "speak-the-protocol": """
        import json, os, struct
        def say(message):
            data = json.dumps(message).encode()
            os.write(5, struct.pack("=I", len(data)) + data)
        try:
            say(["return", None, []])
            say(["ask", "call", 0, ["tuple", [["tuple", ["exit"]], ["dict", []]]]])
            say(["ask", "getattr", 0, ["tuple", [["tuple", ["__class__"]], ["dict", []]]]])
            say(["return", ["builtin", "exit"], []])
        except OSError:
            pass
        os._exit(0)
        """,
    "module-of-its-own": """
        import sys, types
        fake = types.ModuleType("math")
        fake.fabs = lambda x: 0
        sys.modules["math"] = fake
        class Any(float):
            __eq__ = __lt__ = __gt__ = lambda *_: True
            __abs__ = lambda self: 49
            __str__ = lambda self: "123"
            __hash__ = float.__hash__
        def square(x): return Any()
        """,
    "skip-by-exception": """
        import os
        class Quiet(BaseException):
            def __init__(self, *a): os._exit(0)
        def square(x): raise Quiet
        """,
}


_NATIVE_CALL = """
import sys
for name in ("ctypes", "_ctypes"):
    sys.modules.pop(name, None)
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(256)
span = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)
def square(x):
    global done
    if not globals().get("done"):
        done = True
        if {call} < 0:
            raise OSError(ctypes.get_errno())
    return x * x
"""

NATIVE_CONTROL = "libc.getpid()"
"""A call that is allowed: it shows that native code runs, so that the others do fail as calls."""

# Right solutions, which first make one call by native code; a wrong one if the call is refused.
# Numbers of x86-64. Those that this kernel or user does not have are left out.
SYSTEM_CALLS: dict[str, str] = {
    "socket": "libc.socket(2, 1, 0)",
    "socketpair": "libc.socketpair(1, 1, 0, (ctypes.c_int * 2)())",
    "io_uring_setup": "libc.syscall(425, 1, buffer)",
    "userfaultfd": "libc.syscall(323, 1)",
    "perf_event_open": "libc.syscall(298, (ctypes.c_uint32 * 32)(1, 128), 0, -1, -1, 0)",
    "bpf": "libc.syscall(321, 0, (ctypes.c_uint32 * 16)(2, 4, 4, 1), 64)",
    "ptrace": "libc.ptrace(0, 0, 0, 0)",
    "keyctl": "libc.syscall(250, 0, -3, 1)",
    "add_key": "libc.syscall(248, b'user', b'attack', b'x', 1, -1)",
    "inotify": "libc.inotify_init1(0)",
    "fanotify": "libc.syscall(300, 0, 0)",
    "memfd": "libc.syscall(319, b'x', 0)",
    "memfd_secret": "libc.syscall(447, 0)",
    "process_vm_readv": "libc.syscall(310, libc.getpid(), span, 1, span, 1, 0)",
    "kill-by-thread-number": "libc.syscall(234, libc.getppid(), libc.getppid(), 0)",
    "shared-memory": "libc.shmget(0, 4096, 0o1600)",
    "message-queue": "libc.msgget(0, 0o1600)",
    "semaphore": "libc.semget(0, 1, 0o1600)",
    "unshare": "libc.unshare(0x10000000)",
    "mount": "libc.mount(b'none', b'/', None, 0x4020, None)",
    "personality": "libc.personality(0x0040000)",
    "dumpable": "libc.prctl(4, 1, 0, 0, 0)",
    "fork": "(lambda p: p or libc._exit(0))(libc.syscall(57))",
    "fork-by-clone": "(lambda p: p or libc._exit(0))(libc.syscall(56, 17, 0, 0, 0, 0))",
    "affinity": "libc.sched_setaffinity(0, 8, (ctypes.c_uint64 * 1)(0xFFFF))",
    "priority": "libc.setpriority(0, 0, 5)",
    "limits-of-another": "libc.prlimit(libc.getppid(), 7, None, buffer)",
    "kernel-log": "libc.syscall(103, 3, buffer, 256)",
    "timer": "libc.syscall(222, 0, None, buffer)",
    "file-handle": "libc.name_to_handle_at(-100, b'/', (ctypes.c_uint32 * 64)(128), buffer, 0)",
    "watch-by-signal": "libc.fcntl(libc.open(b'.', 0), 1026, 1)",
    "terminal": "libc.posix_openpt(2)",
    "32-bit-call": "native(bytes.fromhex('b814000000cd80c3'))",
}
_NATIVE_CODE = """
def native(code):
    libc.mmap.restype = ctypes.c_void_p
    place = libc.mmap(None, 4096, 7, 0x22, -1, 0)
    ctypes.memmove(place, code, len(code))
    return ctypes.CFUNCTYPE(ctypes.c_int)(place)()
"""


def program(table: dict[str, str], name: str) -> str:
    """Return an attack's source, with the assertion that it must not get past at its end."""
    if table is SYSTEM_CALLS:
        return native(table[name])
    source = dedent(table[name]).strip("\n") + "\n"
    if table is FORGED_PROGRAMS:
        if "END" in source:
            return source.replace("END", str(source.count("\n")))
        return source + _NEVER
    return source


def native(call: str) -> str:
    """Return a right solution that first makes a call by native code."""
    return _NATIVE_CALL.format(call=call) + _NATIVE_CODE
