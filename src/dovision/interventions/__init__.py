"""Interventions on a model's computation: one file each, each a subclass of `interfaces.Intervention`."""
