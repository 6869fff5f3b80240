"""What runs under Lightning: modules that fit classifier and autoencoder, and callbacks that measure while testing."""
