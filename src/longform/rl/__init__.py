"""The learning maths on tensors: log-probabilities, advantages, losses. Pure functions of their arguments."""
