"""Reliability of judges: agreement with people, biases, noise, resistance to injected text, and recommendations.

Modules: `pairs` loads pairs, `presets` loads published sets, `asking` queries judges, `figures` measures one judge,
`agreement` compares judges with each other, `advice` holds the thresholds, `tables` renders, `run` is the entry point.
"""
