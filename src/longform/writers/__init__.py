"""Prompts to responses: an OpenAI-compatible endpoint, or a local transformers model (torch is loaded on use)."""
