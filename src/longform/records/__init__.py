"""What longform reads and writes: rows of files, the run directory and its database, errors meant for users."""
