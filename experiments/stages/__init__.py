"""One module a stage: each reads the settings and calls functions of the other packages with plain values."""
