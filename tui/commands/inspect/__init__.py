"""The command that inspects adapters."""
