"""Read untrusted files safely and write files whole or not at all."""
