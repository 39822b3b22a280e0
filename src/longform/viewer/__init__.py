"""The local web app: runs, rollouts, selections, comparisons and benchmarks in a browser; and the same as static files."""
