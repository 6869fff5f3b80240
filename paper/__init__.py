"""This project's own figures: drawn from finished sweeps by `python -m paper`, and locked. Not part of the package."""
