"""Loops that change weights: supervised fine-tuning through TRL, and our own PPO."""
