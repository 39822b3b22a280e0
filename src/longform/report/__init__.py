"""A run directory as an HTML page."""
