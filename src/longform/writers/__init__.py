"""Generate responses to prompts with an OpenAI-compatible endpoint or a local transformers model (torch loads on use)."""
