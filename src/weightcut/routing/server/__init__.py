"""The router as a service: an OpenAI-compatible HTTP server in front of the variants."""
