"""The script that the server runs, in a folder of its own: it comes first on the import path."""
