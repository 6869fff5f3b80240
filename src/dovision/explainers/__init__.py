"""Where the evidence for a class lies: one file an explainer, each a subclass of `interfaces.Explainer`."""
