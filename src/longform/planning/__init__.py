"""Resource planning from the recipe and the model's config.json: memory, disk, seconds, tokens and cost."""
