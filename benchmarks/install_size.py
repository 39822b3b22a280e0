"""How large the base install is: a fresh environment, `pip install -c constraints.txt .`, and what it adds.

    .venv/bin/python benchmarks/install_size.py [--extra data]

Without extras it must add at most 400 MB (as `du -sm` counts) to an empty environment's site-packages.
"""

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BOUND = 400
_LARGEST = 8


def main() -> None:
    """Print the size before and after, and the largest packages; exit with 1 above the bound."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--extra", action="append", default=[], help="install this extra too; no bound then")
    options = parser.parse_args()
    target = f"{ROOT}[{','.join(options.extra)}]" if options.extra else str(ROOT)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "venv"
        venv.create(folder, with_pip=True)
        (packages,) = folder.glob("lib/python*/site-packages")
        before = _megabytes(packages)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "install", "-c", str(ROOT / "constraints.txt"), target], check=True)
        after = _megabytes(packages)
        names = subprocess.run([*pip, "freeze"], check=True, capture_output=True, text=True).stdout.splitlines()
        sizes = sorted(((_megabytes(path), path.name) for path in packages.iterdir() if path.is_dir()), reverse=True)
    print(f"{before} MB before, {after} MB after: {after - before} MB in {len(names)} packages")
    print("largest: " + ", ".join(f"{name} {size}" for size, name in sizes[:_LARGEST]))
    if not options.extra and after - before > BOUND:
        sys.exit(f"more than {BOUND} MB")


def _megabytes(folder: Path) -> int:
    return int(subprocess.run(["du", "-sm", folder], check=True, capture_output=True, text=True).stdout.split()[0])


if __name__ == "__main__":
    main()
