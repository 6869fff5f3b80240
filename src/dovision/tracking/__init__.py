"""Loggers of headline numbers, figures and weights."""
