"""Many jobs of one command: composed and checked before the first starts, told of as they go, gathered at the end."""
