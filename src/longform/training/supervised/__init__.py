"""Supervised stages through TRL and accelerate: fine-tuning, continued pretraining, reward models."""
