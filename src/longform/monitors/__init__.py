"""From a run's metrics to named signatures of failure: pure functions."""
