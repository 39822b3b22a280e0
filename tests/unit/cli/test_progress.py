"""Progress: an ETA after one item whatever it takes, clocks that are never cut, what a step is at, a sample of texts."""

import re
from io import StringIO

import pytest

from longform.cli import output
from longform.cli.output import Pace, StageProgress, show_clock
from longform.steps.recorder import StepReport
from longform.tracking.tracker import SampleText


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def terminal(monkeypatch, *, width=80, is_terminal=True):
    file = StringIO()
    monkeypatch.setattr(
        output, "console", output.Console(file=file, highlight=False, force_terminal=is_terminal, width=width)
    )
    return file


def last_line(file):
    """The last state of a bar, without colours."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())
    return [line for line in re.split(r"[\r\n]+", plain) if line.strip()][-1]


def test_one_step_of_ten_minutes_gives_an_eta(clock):
    pace = Pace(12, clock=clock)
    assert pace.remaining is None
    pace.begin(0)
    clock.now += 600
    pace.update(1, 12)
    assert pace.remaining == 11 * 600
    clock.now += 60  # the estimate counts down within a step, and not below 0
    assert pace.remaining == 11 * 600 - 60
    clock.now += 10**5
    assert pace.remaining == 0


def test_time_before_the_first_step_is_no_part_of_the_pace(clock):
    pace = Pace(10, clock=clock)
    clock.now += 300  # models are loaded
    pace.begin(0)
    clock.now += 20
    pace.update(1, 10)
    assert pace.remaining == 9 * 20
    assert pace.elapsed == 320


def test_a_resumed_run_counts_only_the_steps_of_this_process(clock):
    pace = Pace(100, clock=clock)
    pace.begin(90)
    assert (pace.done, pace.remaining) == (90, None)
    clock.now += 30
    pace.update(91, 100)
    assert pace.remaining == 9 * 30


def test_answers_that_were_recorded_before_do_not_shorten_the_eta(clock):
    pace = Pace(clock=clock)
    pace.update(500, 1000)
    clock.now += 10
    pace.update(510, 1000)
    assert pace.remaining == 490


def test_a_stage_of_two_parts_has_an_eta_for_each(clock):
    pace = Pace(clock=clock)
    pace.update(0, 50)  # windows
    clock.now += 50
    pace.update(50, 50)
    assert pace.remaining == 0
    pace.update(0, 200)  # updates
    clock.now += 20
    pace.update(2, 200)
    assert pace.remaining == 1980


def test_clocks_keep_their_width_for_hours():
    assert [show_clock(it) for it in (None, 0, 59.6, 3725, 75 * 3600)] == [
        "-:--:--",
        "0:00:00",
        "0:01:00",
        "1:02:05",
        "75:00:00",
    ]


@pytest.mark.parametrize("title", ["training 7b-80gb", "training a reward model on a/very-long-name-of-a-model"])
def test_at_80_columns_the_note_is_cut_and_the_clocks_are_not(monkeypatch, title):
    file = terminal(monkeypatch)
    with output.progress(title, total=600) as advance:
        advance(7, 600, "reward 0.53  cost 1.20  structure 0.97  mean rung 1.25")
        advance.phase("updating")
    line = last_line(file)
    assert len(line.rstrip()) <= 80
    assert re.search(r"7/600 0:00:\d\d ETA -:--:-- updating", line)
    assert line.rstrip().endswith("…")


def test_a_wide_terminal_shows_the_whole_note(monkeypatch):
    file = terminal(monkeypatch, width=140)
    with output.progress("training run", total=600) as advance:
        advance(7, 600, "reward 0.53  mean rung 1.25")
    assert last_line(file).rstrip().endswith("reward 0.53  mean rung 1.25")


def test_a_total_that_is_known_is_shown_from_the_start(monkeypatch):
    file = terminal(monkeypatch)
    with output.progress("training run", total=12):
        pass
    assert "0/12" in last_line(file)
    assert "?" not in last_line(file)


def test_a_resumed_run_begins_at_its_step(monkeypatch):
    file = terminal(monkeypatch)
    with output.progress("training run", total=12) as advance:
        advance.begin(8)
    assert "8/12" in last_line(file)


def test_lines_without_a_terminal_have_percent_and_eta(monkeypatch):
    file = terminal(monkeypatch, is_terminal=False)
    monkeypatch.setattr(output, "SECONDS_BETWEEN_LINES", -1.0)
    with output.progress("training run", total=4) as advance:
        advance.begin(0)
        advance(1, 4, "reward 0.5")
    assert re.search(r"training run 1/4  25%  ETA 0:00:00  reward 0.5\n", file.getvalue())


def test_the_phase_stands_before_the_note_and_ends_with_the_step():
    notes = []
    stage = StageProgress(Pace(3), lambda it: notes.append(it.note))
    stage(1, 3, "reward 0.5\x1b[2J")
    stage.phase("writing")
    stage.phase("judging")
    stage(2, 3, "reward 0.6")
    assert notes == ["reward 0.5 [2J", "writing  reward 0.5 [2J", "judging  reward 0.5 [2J", "reward 0.6"]


def report(response, *, outcome: str | None = "win", reward: float | None = 0.8333):
    sample = SampleText("\n\nWrite \x1b[31ma story\nof ten pages", "", response, outcome, reward)
    return StepReport(10, 20, {"curriculum/mean_rung": 0.0}, [], [sample])


def test_a_sample_is_the_request_the_outcome_and_the_first_lines_of_the_response(monkeypatch):
    file = terminal(monkeypatch, is_terminal=False)
    output.print_above(report("\n\n".join(f"[b]line[/b] {number}\x1b[2J\x07" for number in range(9))).sample)
    said = file.getvalue().splitlines()
    assert said[:3] == ["step 10: Write  [31ma story", "  win, reward 0.83:", "  [b]line[/b] 0 [2J "]
    assert len(said) == 9
    assert said[-1] == "  ... (3 more lines)"
    assert "\x1b" not in file.getvalue()


def test_a_long_line_of_a_sample_is_cut_at_the_width_of_the_terminal(monkeypatch):
    file = terminal(monkeypatch, is_terminal=False)
    output.print_above(report("长" * 200, outcome=None, reward=None).sample)
    said = file.getvalue().splitlines()
    assert said[1] == "  no reward:"
    assert said[2].endswith("…")
    assert len(said) == 3


@pytest.mark.parametrize(("spent", "shown"), [(0.0, ""), (0.0123, "  cost 0.0123"), (12.3, "  cost 12.30")])
def test_the_note_has_the_money_so_far_if_there_is_any(spent, shown):
    done = StepReport(1, 2, {"reward/mean": 0.5, "curriculum/mean_rung": 1.0}, [], spent=spent)
    assert done.note == f"reward 0.50{shown}  mean rung 1.00"
    without = done._replace(metrics={"reward/mean": 0.5, "curriculum/mean_rung": 0.0})
    assert without.note == f"reward 0.50{shown}", "prompts without ladders"
