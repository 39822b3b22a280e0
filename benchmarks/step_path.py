"""Which source files one PPO step with a pairwise reward passes through: how far a reader has to walk.

    python benchmarks/step_path.py [--list]

A tiny run in the miniature trains three steps. A profile hook notes every file of the package from which a function is
called during the second one, in the training thread and in the thread that asks the judge. The miniature itself, which
stands in for prompts, model and judge, is left out.
"""

import argparse
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType

import longform
from longform.miniature import quickstart
from longform.miniature.server import serve_in_background
from longform.miniature.world_files import write_world
from longform.records.progress import no_progress
from longform.steps.recorder import StepReport
from longform.training.run import train

PACKAGE = Path(longform.__file__).parent


class FileRecorder:
    """A profile hook that notes the files of the package that functions are called from while `active`."""

    def __init__(self) -> None:
        self.active = False
        self.files: set[str] = set()

    def __call__(self, frame: FrameType, event: str, arg: object) -> None:  # noqa: ARG002
        """Note the file of the function that is called."""
        if self.active and event == "call":
            self.files.add(frame.f_code.co_filename)

    def entered(self) -> list[str]:
        """Paths below the package, sorted, without those of the miniature."""
        inside = (Path(file) for file in self.files if Path(file).is_relative_to(PACKAGE))
        return sorted(str(it.relative_to(PACKAGE)) for it in inside if it.relative_to(PACKAGE).parts[0] != "miniature")


def main() -> None:
    """Train the tiny run and print what its second step entered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the files, not only their number")
    options = parser.parse_args()
    recorder = FileRecorder()
    threading.setprofile(recorder)

    scale, overrides = quickstart.SMOKE, ["run.steps=3", "validation.every=3", "run.checkpoint_every=3"]
    with tempfile.TemporaryDirectory() as scratch, serve_in_background() as base_url:
        folder = Path(scratch) / "world"
        write_world(folder, base_url=base_url, scale=scale, seed=1)
        quickstart.train_start(folder, scale=scale, seed=1, stage=no_progress)
        quickstart.gather_candidates(folder, seed=1, stage=no_progress)
        quickstart.build_ladders(folder)
        recipe = quickstart.pipeline_recipe(folder, scale=scale, seed=1, overrides=overrides)

        def on_step(report: StepReport) -> None:
            recorder.active = report.step == 1

        sys.setprofile(recorder)
        train(recipe, on_step=on_step)
        sys.setprofile(None)
    entered = recorder.entered()
    if options.list:
        print("\n".join(entered))
    print(f"{len(entered)} files of src/longform are entered in one PPO step with a pairwise reward")


if __name__ == "__main__":
    main()
