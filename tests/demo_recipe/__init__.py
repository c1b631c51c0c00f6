"""The recipe of the bundled demo: text generation, training, conversion and report."""
