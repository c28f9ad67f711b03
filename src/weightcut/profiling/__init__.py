"""Speed and memory as raw observations."""
