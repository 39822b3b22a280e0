"""A stored run scored again with another judge, reward or curriculum."""
