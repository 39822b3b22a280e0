"""A user's project: recipes to start from, JSON Schemas for its YAML files, and `longform init`."""
