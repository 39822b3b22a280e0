"""A small built-in world: story requests, writers of different skill, a judge, an examiner and a tiny policy."""
