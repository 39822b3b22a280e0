"""Studies: arms x seeds x examinations, joined into tables and curves."""
