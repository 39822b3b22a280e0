"""Rewards: a number for each response to a prompt, by judges, reward models or measurements of the text."""
