"""Adversarial worlds: one file an attack, each a subclass of `interfaces.Attack`."""
