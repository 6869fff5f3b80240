"""Classifiers, and the autoencoders inserted into them: one file a model, made from plain arguments."""
