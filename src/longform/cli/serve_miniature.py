"""`longform serve-miniature`."""

from pathlib import Path

from longform.cli.flags import Grades, Port, PositiveInt, Seconds


def serve_miniature(
    *,
    port: Port = 0,
    latency_seconds: Seconds = 0.0,
    noise: Grades = 0.4,
    position_bias: Grades = 0.1,
    world: Path | None = None,
    prompts: PositiveInt = 100,
) -> None:
    """Serve the built-in world's writers, judge, examiner and rewriter as a local OpenAI-compatible endpoint.

    The judge answers the questions of filter, lengths, grade, preferences, train, audit and compare, but not those of bench.
    Writers write for requests of this world only; --world writes some.

    Args:
        port: Port on the loopback interface; 0 chooses a free one. The address is printed.
        latency_seconds: Delay before every answer, in seconds.
        noise: Standard deviation of the judge's grading error, on the scale from 1 to 10. The examiner has none.
        position_bias: Grade points that the judge adds to the first of two texts.
        world: New or empty folder for prompts of this world, a chat log (chats.jsonl, for pool) and a models.yaml with this
            address.
        prompts: Number of prompts to write into the world's prompts.jsonl.
    """
    from longform.miniature.judge import JUDGE
    from longform.miniature.server import serve

    judge = JUDGE._replace(noise=noise, position_bias=position_bias)
    serve(port=port, latency_seconds=latency_seconds, judge=judge, world=world, prompts=prompts)
