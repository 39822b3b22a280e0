"""What can be measured on the page alone: words, segments, structure, repetition. Pure; English and Chinese."""
