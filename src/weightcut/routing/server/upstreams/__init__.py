"""Where answers come from: engines in this process, servers by URL, and the fake."""
