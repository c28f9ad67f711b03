"""Pure conclusions from stored observations: statistics, verdicts, frontier."""
