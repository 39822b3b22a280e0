"""Generation on a vLLM or SGLang server that receives the policy's weights."""
