"""Labels by people: which pairs they see in which order, what they chose, and the files that hold it."""
