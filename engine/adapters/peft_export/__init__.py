"""Export a fused stack as a PEFT adapter that servers load."""
