"""Compression methods, one file each; `recipe` chains them."""
