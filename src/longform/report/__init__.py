"""HTML pages of runs, comparisons and selections."""
