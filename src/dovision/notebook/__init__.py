"""Notebook API: what the commands measure, on tensors, dataloaders and datasets, with results that show themselves."""
