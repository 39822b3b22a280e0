"""`longform serve-miniature`."""

from longform.cli.flags import Port, Seconds


def serve_miniature(*, port: Port = 0, latency_seconds: Seconds = 0.0) -> None:
    """Serve the miniature world's writers, judge and examiner as an OpenAI-compatible endpoint on this machine.

    Args:
        port: Port on the loopback interface; 0 takes a free one. The address is printed.
        latency_seconds: Waited before every answer.
    """
    from longform.miniature.server import serve

    serve(port=port, latency_seconds=latency_seconds)
