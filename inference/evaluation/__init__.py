"""Metrics with intervals, and the gap to a known optimum."""
