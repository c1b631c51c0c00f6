"""Check an adapter before llama.cpp reads it."""
