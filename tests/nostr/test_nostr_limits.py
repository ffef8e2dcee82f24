"""Hostile sizes and zones: refused as what they are, and at once."""

import time

import pytest

from gennostr.exceptions import MessageError, RelayUrlError
from gennostr.nostr import Event, normalize_url, sign, verify

SECRET = "b7e151628aed2a6abf7158809cf4f3c762e7160f38b4da56a784d9045190cfef"


def test_a_number_too_long_to_be_written_is_a_message_error() -> None:
    with pytest.raises(MessageError):
        verify(Event("a" * 64, "a" * 64, 10**5000, 1, [], "", "a" * 128))
    pytest.importorskip("coincurve", reason="signing needs coincurve, which is not installed")
    with pytest.raises(MessageError):
        sign(SECRET, created_at=10**5000, kind=1, content="")


def test_a_host_is_ascii_also_in_brackets() -> None:
    with pytest.raises(RelayUrlError):
        normalize_url("ws://[fe80::1%\U0001f99c]/")


def test_a_host_too_long_is_refused_before_idna() -> None:
    started = time.process_time()
    with pytest.raises(RelayUrlError):
        normalize_url("ws://" + "\u00fc" * 500_000)
    assert time.process_time() - started < 0.5
