import os
import signal
import sys

import pytest

from dovision.io.signals import Stop, Stopped


def test_elsewhere_a_signal_ends_the_job_at_once_and_its_handler_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match="stopped by SIGTERM") as caught, Stop():
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_is_answered_at_once_and_so_is_a_second_one_and_the_line_is_left_to_the_command(capfd):
    with Stop():
        with pytest.raises(Stopped, match="SIGTERM"):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped, match="SIGINT"):
            os.kill(os.getpid(), signal.SIGINT)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("signum", "end"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_fork_raises_nothing_of_its_own(signum, end, capfd):
    with Stop():
        process = os.fork()
        if process == 0:
            try:
                os.kill(os.getpid(), signum)
            finally:
                os._exit(sys.exc_info()[0] is not None)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == end
    assert capfd.readouterr().err == ""


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
    unheard = signal.getsignal(signal.SIGUSR2)
    with Stop():
        assert signal.getsignal(signal.SIGUSR2) == unheard


def test_no_part_can_take_it_for_an_error_of_its_own():
    assert not issubclass(Stopped, Exception)
