"""Texts for calibration, training and evaluation, proven disjoint."""
