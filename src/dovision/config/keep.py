"""Choices of `evaluation.keep`: the classes whose effects on an image are kept as rows."""

KEEPS = ("all", "predicted", "labels", "top_k", "summary")
KEEP_ALL, KEEP_PREDICTED, KEEP_LABELS, KEEP_TOP, KEEP_SUMMARY = KEEPS
