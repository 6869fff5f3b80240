"""Choices of `evaluation.rows`, the classes whose effects are rows, and of `evaluation.reference`."""

ROW_CHOICES = ("all", "named", "none")
ALL_ROWS, NAMED_ROWS, NO_ROWS = ROW_CHOICES  # of all classes; of labels and predictions; of none
WITHOUT_AUTOENCODER = "without_autoencoder"
REFERENCES = ("with_autoencoder", WITHOUT_AUTOENCODER)  # controls of an intervention on a code
