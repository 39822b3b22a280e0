"""A trained policy, or a file of texts, to the Hugging Face hub with a card that says where it comes from."""
