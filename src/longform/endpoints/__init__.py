"""The one async client to OpenAI-compatible endpoints: limits, retries, time-outs, recorded answers, cost."""
