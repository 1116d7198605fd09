"""Who may do what in the console: from a person's groups to a role and tenants. Pure; deny by default."""

from collections.abc import Iterable, Mapping, Sequence

from proxy.admin.config import Grant
from proxy.store.tokens import TokenRole

STRENGTH = (TokenRole.ADMIN, TokenRole.FINANCE, TokenRole.AUDITOR, TokenRole.VIEWER)  # the strongest first


def granted(groups: Iterable[str], grants: Mapping[str, Grant]) -> Grant | None:
    """Return what a person in these groups may do; None: nothing at all.

    The strongest role counts, and only the groups that give this role: their tenants are joined, and one
    of them that is not confined makes the person so. What weaker roles would add is left out. So whatever
    the person may do, with whichever tenant, one of the groups alone allows.
    """
    mine = [grants[one] for one in sorted(set(groups)) if one in grants]
    for role in STRENGTH:
        same = [one for one in mine if one.role == role]
        if same:
            return _joined(role, same)
    return None


def _joined(role: TokenRole, same: Sequence[Grant]) -> Grant:
    if not all(one.tenants for one in same):
        return Grant(role.value)
    return Grant(role.value, tuple(sorted({tenant for one in same for tenant in one.tenants})))


def groups_in(claims: Mapping[str, object], name: str) -> tuple[str, ...] | None:
    """Return the groups that a claim names, a list of strings or one string; None: there is no such claim.

    The claim is the one of this very name, else dots in the name lead into objects: `realm_access.roles`.
    Of anything else that it holds there are no groups.
    """
    found = _found(claims, name)
    if found is None:
        return None
    if isinstance(found, str):
        return (found,)
    if isinstance(found, list) and all(isinstance(one, str) for one in found):
        return tuple(found)
    return ()


def _found(claims: Mapping[str, object], name: str) -> object:
    if name in claims:
        return claims[name]
    found: object = claims
    for part in name.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found
