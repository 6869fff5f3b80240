"""Adversarial worlds: one file an attack, each a subclass of `contracts.Attack`."""
