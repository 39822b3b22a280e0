"""Held-out comparisons of writers, as numbers with intervals."""
