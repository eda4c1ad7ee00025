"""Signals that are recorded until a loop checks for them."""

import signal

import pytest

from sdgan_jax import interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_and_the_second_acts(number, capfd):
    former = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    with interrupts.stop_asked("stopping") as asked:
        assert not asked()
        signal.raise_signal(number)
        assert asked()
        assert signal.getsignal(number) is former[number]
    assert {kind: signal.getsignal(kind) for kind in former} == former
    assert capfd.readouterr().err == "\nstopping\n"


@pytest.fixture
def interactive():
    """Python's own action on Ctrl-C; a shell starts background jobs with Ctrl-C ignored."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


def test_ctrl_c_twice_stops_at_once(interactive):
    with pytest.raises(KeyboardInterrupt), interrupts.stop_asked() as asked:
        signal.raise_signal(signal.SIGINT)
        assert asked()
        signal.raise_signal(signal.SIGINT)
