"""A student in several numeric forms: bits by layer, and how far the forms differ."""
