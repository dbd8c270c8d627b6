"""The search for networks that are good for what they cost."""
