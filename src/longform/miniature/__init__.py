"""A small built-in world: story requests, writers of graded skill, a judge, an examiner and a tiny policy."""
