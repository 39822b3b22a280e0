"""Generation on a vLLM or SGLang server, which receives the policy's weights before each step."""
