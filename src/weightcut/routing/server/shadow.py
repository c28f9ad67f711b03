"""Placeholder while the rest is built."""

from __future__ import annotations


class Shadow:
    """later"""
