"""Rescore a recorded run with another judge, reward or curriculum."""
