"""Reward workers of a cluster that stands already begin in folders of their own: what they load is named by whole paths."""

from longform.cluster.reward_manager import placed_rewards
from longform.rewards.settings import FormatSettings, LengthSettings, WritingSettings


def test_folders_below_that_of_the_run_are_placed_and_hub_ids_and_whole_paths_are_not(tmp_path):
    (tmp_path / "models" / "writing").mkdir(parents=True)
    (tmp_path / "encoder").mkdir()
    other = tmp_path.parent / "elsewhere"
    rewards = [
        LengthSettings(kind="length"),
        WritingSettings(kind="writing", model=["models/writing", "org/rm", str(other)], endpoint=["a", "b", "c"]),
        FormatSettings(kind="format", redundancy=1, redundancy_measure="embeddings", embeddings="encoder"),
    ]
    length, writing, form = placed_rewards(rewards, tmp_path)
    assert length == rewards[0]
    assert isinstance(writing, WritingSettings)
    assert writing.models == [str(tmp_path / "models" / "writing"), "org/rm", str(other)]
    assert isinstance(form, FormatSettings)
    assert form.embeddings == str(tmp_path / "encoder")
