"""Pure functions from answers to numbers."""
