"""Run llama.cpp in a process of its own, and talk to it."""
