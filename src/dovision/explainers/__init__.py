"""Maps of the evidence for a class: one file an explainer, each a subclass of `interfaces.Explainer`."""
