"""Named failure signatures computed from a run's metrics; pure functions."""
