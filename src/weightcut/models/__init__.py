"""From a model reference to a pinned local checkpoint."""
