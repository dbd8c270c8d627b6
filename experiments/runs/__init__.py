"""Run folders: where they lie, what is written to them, how they are read."""
