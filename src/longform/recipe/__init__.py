"""A run's recipe: one YAML file, composed of each room's settings and checked whole."""
