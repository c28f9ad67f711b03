"""Cut the weight of a code LLM and keep its punch."""
