"""Draw the rack of adapters, and let the user mix them."""
