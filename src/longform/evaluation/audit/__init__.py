"""How far a judge can be trusted: agreement with people, biases, noise, resistance to injected text; advice from all of it.

Modules: `pairs` loads pairs, `asking` asks live judges, `figures` measures one judge, `agreement` compares judges with each
other, `advice` holds the thresholds, `tables` renders, `run` is the entry point.
"""
