"""Templates: everything that is shown is escaped, and what is missing is an error, not a blank."""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from proxy.console import figures
from proxy.core.usage import meter_label

if TYPE_CHECKING:
    from jinja2 import Environment

STATIC = "/static"


@cache
def environment() -> "Environment":
    """Return what renders our templates; it is loaded with the first of them."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("proxy.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "usd": figures.usd,
        "usd_exact": figures.usd_exact,
        "percent": figures.percent,
        "count": figures.count,
        "seconds": figures.seconds,
        "when": figures.instant,
        "when_in": figures.instant_in,
        "when_exact": figures.instant_exact,
        "meter": meter_label,
    }
    made.globals["static"] = static_href
    return made


def render(template: str, shown: Mapping[str, Any]) -> str:
    """Return a page as HTML."""
    return environment().get_template(template).render(shown)


@cache
def static_file(name: str) -> bytes | None:
    """Return a file that pages need, None if there is none of this name."""
    if "/" in name or name.startswith("."):
        return None
    found = files("proxy.console").joinpath("static", name)
    return found.read_bytes() if found.is_file() else None


@cache
def static_href(name: str) -> str:
    """Return where a file is, with its content's mark: browsers keep it until that changes."""
    content = static_file(name)
    assert content is not None, name
    return f"{STATIC}/{name}?v={hashlib.sha256(content).hexdigest()[:16]}"
