"""What is done with model files of any kind, of integers or floats: load them as classifiers, count what they cost."""
