"""What a run needs, from its recipe and the model's config.json alone: memory, disk, seconds, tokens and money."""
