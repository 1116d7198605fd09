"""Whom processes of the tests trust: an authority that has signed nothing, or those that the machine trusts.

To load the latter takes each of hundreds of processes 60 ms, and nothing here speaks to strangers, but for
what installs packages.
"""

import os
from pathlib import Path

_FILE = "SSL_CERT_FILE"
_GIVEN = "TEST_SSL_CERT_FILE"  # what that was, for processes of ours too
_NOBODY = Path(__file__).with_name("nobody.pem")


def trust_nobody() -> None:
    """Let this process and those that it starts trust nobody, unless they are told whom."""
    os.environ.setdefault(_GIVEN, os.environ.get(_FILE, ""))
    os.environ[_FILE] = str(_NOBODY)


def trusting_as_given() -> dict[str, str]:
    """Return the environment for a process that trusts whom this machine trusts."""
    environment = {name: value for name, value in os.environ.items() if name != _FILE}
    given = os.environ.get(_GIVEN)
    return {**environment, _FILE: given} if given else environment
