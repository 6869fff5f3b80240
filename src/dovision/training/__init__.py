"""Fitting of classifiers and autoencoders under Lightning, and the cache of fitted models."""
