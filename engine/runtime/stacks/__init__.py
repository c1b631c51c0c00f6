"""Apply an adapter stack to a context, layered or fused into one adapter."""
