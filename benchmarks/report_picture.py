"""The picture of a run's report for README.md: docs/pictures/report.png.

    make pictures [RUN=FOLDER]
    .venv/bin/python benchmarks/report_picture.py [FOLDER] [--out FILE]

FOLDER is a quickstart's folder or a run directory; without one the quickstart runs first, which takes 4 to 10 minutes. The
page is rendered anew, then by Chromium without a window; where Chromium is missing and apt-get is at hand (as root), it is
installed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "pictures" / "report.png"
MAX_BYTES = 200_000
WIDTH, HEIGHT = 1280, 1040
"""Pixels: three charts side by side, and four rows of them."""
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", help="a quickstart's folder or a run directory")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--height", type=int, default=HEIGHT, help="of the part of the page that is shown, in pixels")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch) / "quickstart"
        if options.folder is None:
            _longform("quickstart", "--out", str(folder))
        run = folder if (folder / "run.sqlite").exists() else folder / "run"
        if not (run / "run.sqlite").exists():
            sys.exit(f"{folder}: is no run directory and holds no run")
        _longform("report", str(run))
        picture = Path(scratch) / "report.png"
        take(run / "report.html", picture, height=options.height)
        size = picture.stat().st_size
        if size > MAX_BYTES:
            sys.exit(f"the picture has {size:,} bytes, more than {MAX_BYTES:,}; give a smaller --height")
        options.out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, options.out)
    print(f"{options.out}: {WIDTH} x {options.height} pixels, {size:,} bytes")


def take(page: Path, out: Path, *, height: int) -> None:
    """Render the top of a page to a PNG."""
    command = [
        browser(),
        "--headless",
        "--disable-gpu",
        "--hide-scrollbars",
        "--force-device-scale-factor=1",
        f"--user-data-dir={out.parent / 'profile'}",
        f"--window-size={WIDTH},{height}",
        f"--screenshot={out}",
        page.resolve().as_uri(),
    ]
    if os.geteuid() == 0:  # Chromium refuses its sandbox to root; the page has no script and loads nothing
        command.insert(1, "--no-sandbox")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if not out.exists():
        sys.exit(f"{command[0]} drew nothing: {done.stderr.strip()}")


def browser() -> str:
    """The path of a Chromium, installed if need be."""
    if found := _find_browser():
        return found
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update"], check=True, stdout=subprocess.DEVNULL)
        packages = ["chromium", "fonts-dejavu-core"]
        install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
        subprocess.run(
            install, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        )
    if found := _find_browser():
        return found
    sys.exit(f"this needs one of {', '.join(_BROWSERS)}: install it first")


def _find_browser() -> str | None:
    return next(filter(None, map(shutil.which, _BROWSERS)), None)


def _longform(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "longform", *arguments], check=True)


if __name__ == "__main__":
    main()
