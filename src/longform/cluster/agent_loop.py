"""verl's single-turn rollout with the stop conditions of a recipe: responses end where they would on the local engine.

vLLM gets the stop strings and stops at them. SGLang runs without a tokenizer under verl and cannot search for strings. So
the tokens after the end of a response are removed here, before the response is rewarded and learned.
"""

from typing import Any

import torch
from omegaconf import OmegaConf
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput, register
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

from longform.cluster.config import AGENT_LOOP
from longform.writers.settings import GenerationSettings
from longform.writers.stops import find_stops


@register(AGENT_LOOP)
class StoppingAgentLoop(SingleTurnAgentLoop):
    """One turn that ends at the end tokens, the closing tag and the stop strings of a recipe."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stored = OmegaConf.to_container(self.config.longform.generation)
        self._stops = find_stops(self.tokenizer, GenerationSettings.model_validate(stored))

    async def run(self, sampling_params: dict[str, Any], priority: int = 0, **kwargs: Any) -> AgentLoopOutput:
        """Generate a response, and remove the tokens after its end."""
        stops: dict[str, Any] = {"stop_token_ids": sorted(self._stops.tokens)}
        if self._stops.searched and self.rollout_config.name == "vllm":
            stops |= {"stop": list(self._stops.searched), "include_stop_str_in_output": True}
        asked = {**sampling_params, **stops}
        # The tracing decorator of verl hides the method that it wraps.
        output: AgentLoopOutput = await super().run(asked, priority=priority, **kwargs)  # pyright: ignore[reportAbstractUsage]
        end = self._stops.find_end(torch.tensor(output.response_ids))
        output.response_ids, output.response_mask = output.response_ids[:end], output.response_mask[:end]
        if output.response_logprobs:
            output.response_logprobs = output.response_logprobs[:end]
        return output
