"""Extract an adapter from the difference of two models."""
