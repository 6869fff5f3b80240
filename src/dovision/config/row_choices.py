"""Choices of `evaluation.rows`: the classes whose effects on an image are rows of effects.parquet."""

ROW_CHOICES = ("all", "named", "none")
ALL_ROWS, NAMED_ROWS, NO_ROWS = ROW_CHOICES  # of all classes; of labels and predictions; of none
