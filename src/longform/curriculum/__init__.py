"""Which rung of its ladder each prompt faces, and when it is promoted: settings, pure rules, and a small state."""
