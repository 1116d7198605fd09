"""Who an identity provider says that somebody is, or why it does not. Apart from what asks it."""

from dataclasses import dataclass

from proxy.admin.config import Grant


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody who may come in. `subject` tells people apart for good; `name` is for reading."""

    subject: str  # issuer, a space, and what the issuer calls the person
    name: str
    grant: Grant


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody signed in. The text says why, and what the person can do."""

    text: str
