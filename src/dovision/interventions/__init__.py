"""What can be done to a model's computation: one file an intervention, each a subclass of `interfaces.Intervention`."""
