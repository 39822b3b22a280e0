"""`longform view`."""

from pathlib import Path

from longform.cli.flags import Flag, Port
from longform.cli.output import print_result


def view(
    *paths: Path,
    port: Port = 0,
    host: str = "127.0.0.1",
    no_browser: Flag = False,
    bundle: Path | None = None,
    with_texts: Flag = False,
) -> None:
    """Show runs, studies and results in a browser: curves, and all training texts with references and judge answers.

    Args:
        paths: Run directories, folders with runs or of studies, or files of results (default: runs).
        port: Port to listen on; 0 chooses a free one.
        host: Address to listen on. Any other than this machine's own needs a password, in the environment variable
            LONGFORM_VIEW_PASSWORD; the user's name is longform.
        no_browser: Do not open a browser; the address is printed.
        bundle: Write the pages into this new folder instead; they open without a server.
        with_texts: With --bundle: include texts and judge answers.
    """
    given = paths or (Path("runs"),)
    if bundle is not None:
        from longform.viewer.bundle import write_bundle

        written = write_bundle(given, bundle, with_texts=with_texts)
        size = f"{written.files} files, {written.size / 1e6:.1f} MB"
        print_result({"bundle": str(bundle / "index.html"), "size": size}, as_json=False)
        return
    from longform.viewer.serve import serve

    serve(given, host=host, port=port, browser=not no_browser, on_start=lambda address: print(address, flush=True))
