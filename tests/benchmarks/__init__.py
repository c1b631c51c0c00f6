"""Measurements printed as ratios between two things run side by side: `make bench`."""
