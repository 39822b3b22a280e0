"""Reward workers of a cluster that stands already begin in folders of their own: what they load is named by whole paths."""

from longform.cluster.reward_manager import placed_rewards
from longform.rewards.settings import LengthSettings, WritingSettings


def test_folders_below_that_of_the_run_are_placed_and_hub_ids_and_whole_paths_are_not(tmp_path):
    (tmp_path / "models" / "writing").mkdir(parents=True)
    other = tmp_path.parent / "elsewhere"
    rewards = [
        LengthSettings(kind="length"),
        WritingSettings(kind="writing", model=["models/writing", "org/rm", str(other)], endpoint=["a", "b", "c"]),
    ]
    length, writing = placed_rewards(rewards, tmp_path)
    assert length == rewards[0]
    assert isinstance(writing, WritingSettings)
    assert writing.models == [str(tmp_path / "models" / "writing"), "org/rm", str(other)]
