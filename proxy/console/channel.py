"""How a request came: signing in has to be private, and a write has to come from a page of ours."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

PRIVATE = "__Host-"  # a cookie that no other host and no plain HTTP can set; browsers want TLS for it
_LOOPBACK_NAMES = ("localhost",)
_OWN = ("same-origin", "none")  # of Sec-Fetch-Site: our own page, or what a person typed


@dataclass(frozen=True, slots=True)
class Channel:
    """Where pages are to be found by browsers; `public_url` is None where nobody said so."""

    public_url: str | None = None

    def origin(self, request: web.Request) -> str:
        """Return the origin that a browser has for our pages."""
        if self.public_url and _host_of(self.public_url) == request.host:
            return self.public_url.rstrip("/")
        return f"{request.scheme}://{request.host}"

    def is_secure(self, request: web.Request) -> bool:
        """Tell whether the browser speaks TLS, to us or to what stands before us."""
        return self.origin(request).startswith("https://")

    def refusal(self, request: web.Request) -> str | None:
        """Return why nobody may sign in this way, None where they may."""
        if self.is_secure(request) or (_is_loopback(request.remote) and _is_loopback_name(request.url.host)):
            return None
        return (
            "Signing in over plain HTTP would show your password and your cookie to everybody on the way."
            " Set TALKMETER_TLS_CERT and TALKMETER_TLS_KEY; or, behind a proxy that speaks TLS, set"
            " TALKMETER_PUBLIC_URL to the https:// address that it has; or come from this machine itself."
        )

    def kept(self, request: web.Request, name: str) -> str:
        """Return what the browser keeps under `name` since `keep`; empty for nothing."""
        return request.cookies.get(self._cookie(request, name), "")

    def keep(
        self,
        request: web.Request,
        response: web.StreamResponse,
        name: str,
        value: str,
        lasts_s: int | None = None,
    ) -> None:
        """Have the browser keep a value, until it is closed or for so long, from scripts and other hosts."""
        response.set_cookie(
            self._cookie(request, name),
            value,
            max_age=lasts_s,
            path="/",
            httponly=True,
            samesite="Lax",
            secure=self.is_secure(request),
        )

    def forget(self, request: web.Request, response: web.StreamResponse, name: str) -> None:
        """Have the browser forget what it keeps under `name`."""
        is_secure = self.is_secure(request)  # without it a private cookie would stay
        response.del_cookie(self._cookie(request, name), path="/", secure=is_secure)

    def _cookie(self, request: web.Request, name: str) -> str:
        return f"{PRIVATE}{name}" if self.is_secure(request) else name

    def is_own(self, request: web.Request) -> bool:
        """Tell whether a write comes from a page of ours: browsers say so, and other pages cannot."""
        site = request.headers.get("Sec-Fetch-Site")
        if site is not None and site not in _OWN:
            return False
        return request.headers.get("Origin") == self.origin(request)


def _host_of(url: str) -> str:
    return urlsplit(url).netloc


def _is_loopback(address: str | None) -> bool:
    try:
        return address is not None and ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _is_loopback_name(host: str | None) -> bool:
    """Tell whether a name in a URL is this machine's: another one may have been made to point here."""
    return host in _LOOPBACK_NAMES or _is_loopback(host)
