"""Statistics: clustered bootstrap, Bradley-Terry, agreement. Pure functions."""
