"""Asking a model about writing: fences, templates, pairwise and pointwise judges, parsing of their answers."""
