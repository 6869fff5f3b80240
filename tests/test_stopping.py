import os
import signal

import pytest

from dovision.stopping import Stop, Stopped


def test_elsewhere_a_signal_ends_the_job_at_once_and_its_handler_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match="stopped by SIGTERM") as caught, Stop():
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_in_a_test_the_batch_is_finished_first_but_not_for_ctrl_c():
    with Stop() as stop:
        stop.on_test_start(None, None)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped, match="SIGINT"):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Stopped, match="SIGTERM"):
            stop.on_test_batch_end(None, None, None, None, 0)


def test_a_second_signal_does_not_wait():
    with Stop() as stop:
        stop.on_test_start(None, None)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_schedulers_notice_is_listened_to_only_where_its_client_does():
    heard = []
    before = signal.signal(signal.SIGUSR2, lambda signum, frame: heard.append(signum))
    try:
        with pytest.raises(Stopped, match="SIGUSR2"), Stop():
            os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR2)
        assert heard == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, before)
    with Stop() as stop:
        assert signal.SIGUSR2 not in stop._before


def test_no_part_can_take_it_for_an_error_of_its_own():
    assert not issubclass(Stopped, Exception)
