"""Reinforcement learning for long-form writers: from a pile of prompts to a measurably better writer."""

__version__ = "0.2.0"
