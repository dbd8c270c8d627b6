"""Devices and processes: which of several this one is, and how they exchange what each has."""
