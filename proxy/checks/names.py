"""Names of hosts, looked up in the thread that asks.

asyncio does it in a thread that the process waits for at its end: a name server that is away would hold up
the command long after everything was said.
"""

import socket
from urllib.parse import urlsplit

from proxy.store import StoreError


def look_up(url: str) -> None:
    """Look the host of a URL up, as whoever connects to it is about to.

    Raises:
        StoreError: nobody knows it.
    """
    host = urlsplit(url).hostname or ""
    try:
        socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or type(error).__name__
        raise StoreError(f"{host} cannot be reached: no such host ({said})") from None
