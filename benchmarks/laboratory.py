"""Which of the papers' contrasts can the miniature show, and with how many seeds?

    python benchmarks/laboratory.py [--seeds 10] [--contrast selection] [--set-world judge=calibrated] [--steps 90]

A laboratory without a language model (see `longform.miniature.laboratory`) trains each arm for some seeds and prints the
differences of the first arm from the others, and the power of a paired t-test over seeds. A contrast whose power at ten
seeds is below .8 is not trained with models.
"""

import argparse
import time

from longform.cli.output import print_table
from longform.miniature.laboratory import CONTRASTS, LabDifference, LabSettings, difference, run_arm
from longform.miniature.study_world import WorldSettings


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--contrast", action="append", choices=tuple(CONTRASTS), help="repeatable; default: all")
    parser.add_argument("--set-world", action="append", default=[], metavar="KEY=VALUE", help="another world for all")
    parser.add_argument("--steps", type=int, default=LabSettings().steps)
    parser.add_argument("--lr", type=float, default=LabSettings().lr)
    options = parser.parse_args()
    lab = LabSettings(steps=options.steps, lr=options.lr)
    for name in options.contrast or CONTRASTS:
        began = time.perf_counter()
        contrast = CONTRASTS[name]
        changes = dict(change.split("=", 1) for change in options.set_world)
        world = WorldSettings.model_validate(contrast.world.model_dump() | changes)
        grades = {
            arm: [run_arm(settings, world, seed=seed, lab=lab) for seed in range(1, options.seeds + 1)]
            for arm, settings in contrast.arms.items()
        }
        first, *others = grades
        rows = [[arm, f"{sum(values) / len(values):.2f}", *_shown(None)] for arm, values in grades.items()][:1]
        rows += [
            [arm, f"{sum(grades[arm]) / len(grades[arm]):.2f}", *_shown(difference(grades[first], grades[arm]))]
            for arm in others
        ]
        kinds = "kinds" if world.kinds else "plain"
        seconds = (time.perf_counter() - began) / options.seeds / len(grades)
        title = f"{name}: {kinds}, {world.judge} judge, {lab.steps} steps, {options.seeds} seeds, {seconds:.1f} s each"
        columns = ["arm", "grade", f"{first} - arm", "sd", "power at 5", "at 10", "seeds for .8", "decision"]
        print_table(title, columns, rows)


def _shown(found: LabDifference | None) -> list[str]:
    if found is None:
        return [""] * 6
    decision = "train" if found.is_trained else "not trained"
    seeds = "> 100" if found.seeds is None else str(found.seeds)
    return [f"{found.mean:+.3f}", f"{found.sd:.3f}", f"{found.power_5:.2f}", f"{found.power_10:.2f}", seeds, decision]


if __name__ == "__main__":
    main()
