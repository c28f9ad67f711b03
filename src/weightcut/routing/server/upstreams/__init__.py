"""Where answers come from: engines of our own, servers by URL, and the fake."""
