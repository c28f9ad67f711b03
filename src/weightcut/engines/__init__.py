"""Engines, one file each: they open artifacts as sessions."""
