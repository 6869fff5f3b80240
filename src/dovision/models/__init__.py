"""Classifiers, and the autoencoders inserted into them: one file a model, made from plain arguments.

Arguments that most have: `shape` is (C, H, W) of the images, `task` multiclass or multilabel, `classes` names, one an
output, `mean` and `std` one number, or one a channel, in pixel units.
"""
