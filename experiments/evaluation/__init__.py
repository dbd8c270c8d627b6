"""Metrics, their intervals, tables of predictions, ranking."""
