"""The package `codebleu` 0.7.0 as it is, defects included: texts, tokens and flows of values.

Everything here has its counterpart in `weightcut.metrics.code.dataflow`; what differs, and why, is
told in docs/codebleu.md.
"""
