"""Two runs, or two writers, on the same prompts: paired differences and the texts behind them."""
