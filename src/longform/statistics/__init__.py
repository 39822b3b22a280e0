"""Numbers about numbers: clustered bootstrap, Bradley-Terry, agreement. Pure."""
