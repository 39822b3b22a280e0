"""The curriculum: which rung of its ladder each prompt faces, and when it is promoted."""
