"""One module a stage: each reads the settings and calls the rooms below."""
