"""What verl loads of longform by its entry point: the trainer that `trainer.v1.trainer_mode=longform` names,
and the rollout.

verl swallows what goes wrong while it loads a plugin; `checks.check_plugin` looks whether it is there.

verl 0.9 asks whether trl is installed and then imports a class that trl 1.16 has dropped. The processes of a run use
nothing of trl, so where the launcher says so it is hidden from them: a machine may have both.
"""

import os
import sys

WITHOUT_TRL = "LONGFORM_WITHOUT_TRL"
"""Set by the launcher for Ray's processes."""

if os.environ.get(WITHOUT_TRL):
    sys.modules.setdefault("trl", None)  # type: ignore[arg-type]  # as if it were not installed

import longform.cluster.agent_loop  # noqa: E402
import longform.cluster.trainer  # noqa: E402, F401
