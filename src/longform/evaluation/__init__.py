"""Evaluation on held-out prompts, with intervals."""
