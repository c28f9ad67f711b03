"""What a test may do with a solution that lives in another process."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import dedent

import pytest

from weightcut.metrics.execution import run_tests
from weightcut.sandbox import Sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=1) as one:
        yield one


PASSING = {
    "plain values": (
        "def echo(*a, **k): return a, k",
        """
        import datetime, decimal, fractions
        from collections import deque
        values = [None, True, -1, 1 << 200, -(1 << 70), 0.1, -0.0, float("inf"),
            "ü\\ud800\\0", b"\\xff", 1j, (), (1, (2,)), [], [[1], {2: {3}}], {(1, 2): "x"},
            {1, 2}, frozenset({3}), range(3), deque([1]), bytearray(b"a"), decimal.Decimal("0.1"),
            fractions.Fraction(1, 3), datetime.date(2024, 2, 29), datetime.datetime(2024, 1, 1, 5),
            datetime.timedelta(1, 2, 3)]
        for value in values:
            (back,), _ = echo(value)
            assert back == value and type(back) is type(value), value
        assert echo(1, b=2) == ((1,), {"b": 2})
        nan = float("nan")
        assert echo(nan)[0][0] != nan
        """,
    ),
    "subclasses arrive as their base": (
        "import collections, enum\n"
        "P = collections.namedtuple('P', 'x y')\n"
        "class E(enum.IntEnum): A = 3\n"
        "def f():\n"
        "    default = collections.defaultdict(int, a=1)\n"
        "    return P(1, 2), collections.Counter('aab'), default, E.A",
        "assert f() == ((1, 2), {'a': 2, 'b': 1}, {'a': 1}, 3)\nassert type(f()[3]) is int",
    ),
    "arguments changed in place": (
        "def sort(x): x.sort()\ndef put(d): d['new'] = [1]; d['s'].add(5)\ndef same(x): return x",
        """
        x = [3, 1, 2]
        assert sort(x) is None
        assert x == [1, 2, 3]
        assert same(x) is x
        d = {"s": {1}}
        s = d["s"]
        put(d)
        assert d == {"s": {1, 5}, "new": [1]} and d["s"] is s
        loop = []
        loop.append(loop)
        assert same(loop)[0] is loop
        """,
    ),
    "built-in exceptions": (
        "class Mine(ValueError): pass\n"
        "def f(kind):\n"
        "    if kind == 'mine': raise Mine('text')\n"
        "    return {}[kind] if kind else 1 / 0",
        """
        for kind, expected in (("mine", ValueError), ("key", KeyError), ("", ZeroDivisionError)):
            try:
                f(kind)
            except expected as error:
                assert kind != "mine" or str(error) == "text"
            else:
                raise AssertionError
        """,
    ),
    "objects by handle": (
        "class Node:\n"
        "    def __init__(self, value, next=None): self.value, self.next = value, next\n"
        "    def double(self): return 2 * self.value\n"
        "    def __getitem__(self, i): return i\n"
        "    def __len__(self): return 7\n"
        "def values(node):\n"
        "    while node: yield node.value; node = node.next\n",
        """
        a = Node(1)
        b = Node(2, next=a)
        assert b.next.value == 1 and b.double() == 4 and b[5] == 5 and len(b) == 7
        a.value = 9
        assert list(values(b)) == [2, 9]
        assert b.next == a and b != a and b.next is a
        assert a != 9 and not a == [9]
        """,
    ),
    "functions of the test": (
        "def apply(f, x): return f(f(x))\ndef total(numbers): return sum(numbers)",
        """
        assert apply(lambda x: x + 1, 1) == 3
        assert total(n * n for n in range(4)) == 14
        assert apply(lambda x: apply(lambda y: y * 2, x), 1) == 16
        """,
    ),
    "objects of the test": (
        "def last(node):\n"
        "    while node.next: node = node.next\n"
        "    node.seen = True\n"
        "    return node",
        """
        class Node:
            def __init__(self, next=None):
                self.next = next
        tail = Node()
        assert last(Node(Node(tail))) is tail and tail.seen
        """,
    ),
    "names of the solution": (
        "import math\nfrom math import sqrt\nLIMIT = 10\ndef helper(x): return x",
        "assert math.pi > 3 and sqrt(4) == 2 and LIMIT == 10 and helper(LIMIT) == 10",
    ),
    "builtins stay Python's": (
        "def abs(x): return 0\ndef f(): return -1",
        "assert abs(f()) == 1",
    ),
    "dataclasses and typing": (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "from typing import List\n@dataclass(order=True)\nclass D:\n    x: int\n"
        "def f(x: List[int]) -> D: return D(x[0])",
        "assert f([3]).x == 3 and f([1]) == f([1]) and f([1]) < f([2])",
    ),
}


@pytest.mark.parametrize("name", PASSING)
def test_passes(sandbox: Sandbox, name: str) -> None:
    solution, test = PASSING[name]
    result = sandbox.run_tests(solution, dedent(test))
    assert result.status == "passed", result.output


FAILING = {
    "wrong answer": ("def f(x): return x", "assert f(1) == 2"),
    "syntax error": ("def f(:", "pass"),
    "unknown name": ("x = 1", "f()"),
    "raises on load": ("1 / 0", "pass"),
    "raises when called": ("def f(): 1 / 0", "f()"),
    "test leaves early": ("", "import sys; sys.exit(0)"),
    "NUL": ("x = '\0'", "pass"),
    "lone surrogate": ("x = '\ud800'", "pass"),
    "brackets": ("[" * 10_000, "pass"),
    "private attribute of the test's object": (
        "def f(o): return o._hidden",
        "class C: _hidden = 5\nassert f(C()) == 5",
    ),
    "globals of the test's function": (
        "def f(g): return g.__globals__",
        "assert f(lambda: 0)",
    ),
}


@pytest.mark.parametrize("name", FAILING)
def test_fails(sandbox: Sandbox, name: str) -> None:
    assert sandbox.run_tests(*FAILING[name]).status == "failed"


@pytest.mark.parametrize(
    ("solution", "test", "status"),
    [
        ("while True: pass", "pass", "timed-out"),
        ("def f():\n    while True: pass", "f()", "timed-out"),
        ("", "while True: pass", "timed-out"),
        ("x = [0] * 10**9", "pass", "out-of-memory"),
        ("def f(): return len([0] * 10**9)", "f()", "out-of-memory"),
        ("import socket\ndef f(): socket.socket()", "f()", "blocked"),
        ("open('/etc/passwd')", "pass", "blocked"),
    ],
)
def test_status(sandbox: Sandbox, solution: str, test: str, status: str) -> None:
    assert sandbox.run_tests(solution, test, timeout=0.5).status == status


def test_shared_sandbox() -> None:
    result = run_tests("def f(x): return x + 1", "print('seen')\nassert f(1) == 2")
    assert (result.status, result.output) == ("passed", "seen\n")
    assert 0 < result.cpu_seconds < 5


def test_a_failure_says_where() -> None:
    output = run_tests("def f(x):\n    return x", "y = f(1)\nassert y == 2").output
    assert 'File "<program>", line 2' in output
    assert "AssertionError" in output
    assert "zygote" not in output


def test_each_run_starts_afresh(sandbox: Sandbox) -> None:
    dirty = "import builtins, math\nbuiltins.leak = math.leak = 1\nopen('left', 'w').write('x')"
    assert sandbox.run_tests(dirty, dirty).status == "passed"
    clean = (
        "import builtins, math, os\n"
        "assert not hasattr(builtins, 'leak') and not hasattr(math, 'leak') and not os.listdir('.')"
    )
    assert sandbox.run_tests(clean, clean).status == "passed"
