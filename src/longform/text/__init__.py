"""Text statistics that need no model: words, segments, structure, repetition. Pure functions; English and Chinese."""
