"""Running untrusted code.

What is stopped, by more than one wall where the kernel gives more than one:

- the network, Unix sockets included; new processes; signals to, and tracing of, others (seccomp's
  allow-list; Landlock);
- reading outside the standard library and the system's shared libraries, writing outside a
  private scratch folder that is emptied after each run (Landlock; a user id of its own under root);
- what the starting process has open, its environment, its memory (the fork server is a fresh
  interpreter with an empty environment, and reads no program itself);
- use of CPU time, memory, output and files beyond the limits; waiting for ever;
- a forged *passed*. `run_tests` keeps the test, its expected values and the secret that proves
  success in a process that runs no line of the solution; the solution sees arguments and returns
  plain data (`inside.peer`). `run_program` has one process only: see `inside.program` for how its
  secret is kept from Python code.

Programs see the standard library alone, an empty standard input, and sets in the same order in
every run. They start no processes and no event loops (asyncio needs a socket), and map no files.

Two kinds of sandbox: the fork server, warm and fast; and bubblewrap, which runs the same fork
server in namespaces of its own, made anew for each run. Java and C# run behind the same walls: see
`sandbox.java`, `sandbox.csharp` and `docs/sandbox.md`.

What is not stopped:

- a flaw in the kernel, or in the interpreter or runtime where it shares its memory with the secret
  (`run_program`, Java, C#);
- telling that a file exists, and its size: Landlock does not cover `stat` (bubblewrap does);
- filling the disk with many files of the largest size within the CPU limit;
- timing another run's use of the CPU.
"""

from weightcut.sandbox.capabilities import (
    KINDS,
    Kind,
    Protection,
    capabilities,
    kind_named,
    protections,
)
from weightcut.sandbox.languages import LANGUAGES, SUFFIXES, Language, missing
from weightcut.sandbox.pool import Sandbox, shared

__all__ = [
    "KINDS",
    "LANGUAGES",
    "SUFFIXES",
    "Kind",
    "Language",
    "Protection",
    "Sandbox",
    "capabilities",
    "kind_named",
    "missing",
    "protections",
    "shared",
]
