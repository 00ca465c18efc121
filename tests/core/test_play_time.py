"""Laws of the clock behind `run.minutes`."""

from __future__ import annotations

from azr.play_time import PlayTime


def test_time_counts_from_the_beginning_of_self_play_and_adds_up_over_restarts():
    now = [100.0]
    play_time = PlayTime.of_minutes(2, before_seconds=70, clock=lambda: now[0])
    now[0] = 500.0
    assert play_time.seconds == 70
    play_time.begin()
    now[0] = 549.0
    assert (play_time.seconds, play_time.is_over) == (119, False)
    now[0] = 550.0
    assert play_time.is_over


def test_without_a_limit_a_run_is_never_over():
    play_time = PlayTime.of_minutes(0, before_seconds=1e9)
    play_time.begin()
    assert not play_time.is_over
