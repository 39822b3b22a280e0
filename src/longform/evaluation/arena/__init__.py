"""Bradley-Terry ratings from games, with intervals and control for length."""
