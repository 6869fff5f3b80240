"""What tells attacked images from clean ones: one file a detector, each a subclass of `interfaces.Detector`."""
