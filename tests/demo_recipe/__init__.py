"""The program that made the bundled demo: its text, its training, its conversion, its report."""
