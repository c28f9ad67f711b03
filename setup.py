"""The part of the build that pyproject.toml cannot say: CodeBLEU's compiled way.

It is optional: without a C compiler it is left out, and the way in Python is used.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("src/weightcut/metrics/code/native")

setup(
    ext_modules=[
        Extension(
            "weightcut.metrics.code._native",
            sources=sorted(map(str, NATIVE.glob("*.c"))),
            depends=sorted(map(str, NATIVE.glob("*.h"))),
            extra_compile_args=["-std=c11", "-O2", "-fvisibility=hidden"],
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
