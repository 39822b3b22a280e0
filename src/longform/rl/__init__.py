"""RL maths on tensors: log-probabilities, advantages, losses. Pure functions."""
