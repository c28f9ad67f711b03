"""Where the Java attacks are tried: with plain `java -ea` first, in the sandbox then.

`python -m tests.sandbox.java_field fork-server` prints what came of each as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.sandbox import java_attacks as attacks
from tests.sandbox.field import CPU_SECONDS, MEMORY, SANDBOXES, Field, Outcome, open_field
from weightcut.sandbox import Kind, Sandbox

TABLES = {"ESCAPES": attacks.ESCAPES, "FORGED": attacks.FORGED}
NAMES = [f"{kind}/{name}" for kind, table in TABLES.items() for name in table]
LIBRARIES = ("libresolv.so.2", "libcrypt.so.1", "libnsl.so.1")
HONEST = "class Main { public static void main(String[] a) { assert 1 + 1 == 2; } }"
_NUMBERS = ("TCP_PORT", "UDP_PORT", "VICTIM")


def library() -> str:
    """Return a small native library that no Java runtime has loaded by itself."""
    folders = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib")
    places = [Path(folder, name) for name in LIBRARIES for folder in folders]
    return str(next(path.resolve() for path in places if path.exists()))


def constants(field: Field) -> dict[str, str | int]:
    """Return what an attack needs to know."""
    assert field.victim is not None
    return {
        "TCP_PORT": field.tcp.getsockname()[1],
        "UDP_PORT": field.udp.getsockname()[1],
        "SECRET_FILE": str(field.secret),
        "OUTSIDE": str(field.outside),
        "VICTIM": field.victim.pid,
        "LIBRARY": library(),
    }


def prelude(field: Field) -> str:
    """Return the constants as Java, for the sandbox."""
    return "\n".join(
        f"static final {'int' if name in _NUMBERS else 'String'} {name} = {json.dumps(value)};"
        for name, value in constants(field).items()
    )


def properties() -> str:
    """Return the constants as Java that reads them when it starts, for a naive judge."""
    return "\n".join(
        f'static final int {name} = Integer.getInteger("{name}");'
        if name in _NUMBERS
        else f'static final String {name} = System.getProperty("{name}");'
        for name in ("SECRET_FILE", "OUTSIDE", "LIBRARY", *_NUMBERS)
    )


def naive(field: Field, folder: Path) -> dict[str, bool]:
    """Run every attack as a naive judge does; return which of them end with exit code 0."""
    found, mains = {}, {}
    sources = []
    for key in NAMES:
        kind, _, name = key.partition("/")
        text = attacks.program(TABLES[kind], name, properties() if kind == "ESCAPES" else "")
        main = attacks.class_name(name)
        # Helper classes of the same name must not meet: each program has a package.
        package = "p" + main.lower()
        path = folder / package / f"{main}.java"
        path.parent.mkdir()
        path.write_text(f"package {package};\n{text}")
        mains[key] = f"{package}.{main}"
        sources.append(str(path))
    classes = folder / "classes"
    subprocess.run(["javac", "-nowarn", "-d", str(classes), *sources], check=True)
    for key, main in mains.items():
        field.restore()
        given = [f"-D{name}={value}" for name, value in constants(field).items()]
        command = ["java", "-ea", "-XX:+UseSerialGC", "-Xmx1g", *given, "-cp", str(classes), main]
        mailbox = folder / "mailbox"
        mailbox.write_bytes(bytes(16))
        with mailbox.open("r+b") as stdin:
            done = subprocess.run(
                command, cwd=field.cwd, stdin=stdin, capture_output=True, timeout=60, check=False
            )
        found[key] = done.returncode == 0
    return found


def attempt(field: Field, sandbox: Sandbox, key: str) -> Outcome:
    """Try one attack in the sandbox."""
    kind, _, name = key.partition("/")
    field.restore()
    text = attacks.program(TABLES[kind], name, prelude(field) if kind == "ESCAPES" else "")
    result = sandbox.run_program(text, language="java", timeout=CPU_SECONDS, memory=MEMORY)
    return {"status": result.status, "output": result.output[-2000:], "harm": field.harm()}


def attempt_all(sandbox_kind: Kind) -> dict[str, Outcome]:
    """Try every attack in the sandbox under this user, then an honest program."""
    with open_field() as field, Sandbox(workers=1, kind=sandbox_kind) as sandbox:
        outcomes = {key: attempt(field, sandbox, key) for key in NAMES}
        honest = sandbox.run_program(HONEST, language="java")
    return outcomes | {"honest": {"status": honest.status, "output": honest.output, "harm": []}}


if __name__ == "__main__":
    os.environ.pop("WEIGHTCUT_SANDBOX", None)
    [chosen] = [kind for kind in SANDBOXES if kind == sys.argv[1]]
    json.dump(attempt_all(chosen), sys.stdout)
