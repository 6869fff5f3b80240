"""The configuration: where it lies, its hash, errors of use."""
