"""Commands that list, show and change models."""
