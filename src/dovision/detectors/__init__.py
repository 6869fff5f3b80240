"""Detectors of attacked images: one file a detector, each a subclass of `interfaces.Detector`."""
