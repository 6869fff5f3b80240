"""Attacks: one file each, each a subclass of `interfaces.Attack`."""
