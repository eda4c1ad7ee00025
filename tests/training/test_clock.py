"""Goodput by hand: clocks that the tests set."""

import json

import pytest

from sdgan_jax.training import clock


class Hands:
    """A stopwatch and a calendar that a test moves."""

    def __init__(self, calendar=1000.0):
        self.now, self.calendar = 0.0, calendar

    def move(self, seconds):
        self.now += seconds
        self.calendar += seconds


def make(workdir, hands):
    return clock.Clock(workdir, stopwatch=lambda: hands.now, calendar=lambda: hands.calendar)


def begin(workdir, hands, done):
    """Ten seconds until the first step."""
    made = make(workdir, hands)
    hands.move(10)
    made.mark("start")
    made.start(done)
    return made


def spend(made, hands, **seconds):
    for kind, amount in seconds.items():
        hands.move(amount)
        made.mark(kind)


def test_shares_of_an_interval_and_of_the_whole(tmp_path):
    hands = Hands()
    made = begin(tmp_path, hands, 0)
    spend(made, hands, input=2, steps=6, output=2)
    assert made.goodput() == 6 / 20 and made.elapsed == 20
    assert made.interval() == (8, pytest.approx(2 / 20))  # with the ten seconds of the start
    spend(made, hands, input=1, steps=3)
    assert made.interval() == (4, 0.25) and made.interval() == (0, 0)


def test_a_restart_continues_and_loses_what_was_not_saved(tmp_path):
    """10 + 6 s and a checkpoint, 4 s of steps that a crash throws away, 30 s of rest, 10 s of start, 5 s of steps."""
    hands = Hands()
    made = begin(tmp_path, hands, 0)
    spend(made, hands, steps=6)
    made.save(100)
    spend(made, hands, steps=4)
    hands.move(30)
    made = begin(tmp_path, hands, 100)
    assert made.goodput() == pytest.approx(6 / 60)
    spend(made, hands, steps=5)
    assert made.goodput() == pytest.approx(11 / 65)
    made.save(200)
    assert json.loads((tmp_path / "goodput.json").read_text()) == {
        "first_start": 1000.0,
        "seconds": {"0": 0.0, "100": 6.0, "200": 11.0},
    }


def test_a_rollback_in_a_process_loses_its_steps(tmp_path):
    hands = Hands()
    made = begin(tmp_path, hands, 0)
    spend(made, hands, steps=6)
    made.save(100)
    spend(made, hands, steps=4)
    made.start(100)
    assert made.goodput() == pytest.approx(6 / 20)
    spend(made, hands, steps=5)
    assert made.goodput() == pytest.approx(11 / 25)


def test_a_start_before_the_first_checkpoint_keeps_the_first_time(tmp_path):
    hands = Hands()
    spend(begin(tmp_path, hands, 0), hands, steps=10)
    made = begin(tmp_path, hands, 0)
    spend(made, hands, steps=10)
    assert made.goodput() == pytest.approx(10 / 40)


def test_a_calendar_set_back_and_a_damaged_file(tmp_path):
    hands = Hands()
    made = begin(tmp_path, hands, 0)
    spend(made, hands, steps=10)
    made.save(10)
    hands.calendar = 0.0
    made = begin(tmp_path, hands, 10)
    assert made.goodput() == pytest.approx(10 / 20)  # the seconds of steps, and those of this start
    (tmp_path / "goodput.json").write_text('{"first_start": ')
    assert begin(tmp_path, hands, 10).goodput() == 0


def test_the_line(tmp_path):
    hands = Hands()
    made = begin(tmp_path, hands, 0)
    spend(made, hands, input=1000, steps=2000, output=990)
    assert made.describe() == (
        "Time:        1:06:40 since the first start, goodput 50%; of this start 50% in steps, 25% waiting for data, "
        "0% in start and compilation, 25% in pictures, measurements and checkpoints"
    )
