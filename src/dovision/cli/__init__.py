"""The commands, each the story of a run."""
