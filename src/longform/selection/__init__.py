"""From prompts to ladders: generate candidates, grade them, select by learning potential."""
