"""An adapter from the difference of two models."""
