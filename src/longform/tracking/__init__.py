"""Metrics and texts of a run in experiment trackers: trackio, Weights & Biases, TensorBoard, MLflow, and plugins."""
