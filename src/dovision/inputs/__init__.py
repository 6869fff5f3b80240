"""Readers of files that others may have written: regular files within a budget, and nothing in them that runs."""
