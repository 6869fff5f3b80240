"""LightningModules that fit the classifier and the autoencoder, and the callback that measures effects."""
