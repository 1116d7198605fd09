"""Groups to roles and tenants: what nobody granted, nobody gets."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.config import Grant
from proxy.console.grants import STRENGTH, granted, groups_in
from proxy.store.tokens import TokenRole

TENANTS = ("acme", "beta", "gamma")
GROUPS = ("a", "b", "c", "d", "e")
GRANT = st.builds(
    Grant,
    st.sampled_from([role.value for role in STRENGTH]),
    st.lists(st.sampled_from(TENANTS), unique=True, max_size=3).map(tuple),
)


def allows(grant: Grant, role: str, tenant: str | None) -> bool:
    """Tell whether a grant gives this role with a tenant; None: with all of them, and what is nobody's."""
    return grant.role == role and (not grant.tenants or tenant in grant.tenants)


@given(st.dictionaries(st.sampled_from(GROUPS), GRANT), st.lists(st.sampled_from((*GROUPS, "nobody's"))))
def test_what_is_granted_one_of_the_groups_grants_alone(
    grants: Mapping[str, Grant], groups: list[str]
) -> None:
    """And a person whom no group grants anything is refused."""
    mine = [grants[one] for one in groups if one in grants]
    found = granted(groups, grants)
    assert (found is None) == (not mine)
    if found is not None:
        for tenant in (None, *TENANTS):
            if allows(found, found.role, tenant):
                assert any(allows(one, found.role, tenant) for one in mine)
        assert found == granted(reversed(groups), grants)


@given(st.dictionaries(st.sampled_from(GROUPS), GRANT, min_size=1))
def test_the_strongest_role_counts(grants: Mapping[str, Grant]) -> None:
    found = granted(grants, grants)
    assert found is not None
    order = [role.value for role in STRENGTH]
    assert order.index(found.role) == min(order.index(one.role) for one in grants.values())


def test_every_role_has_a_strength() -> None:
    assert sorted(STRENGTH) == sorted(TokenRole)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([], None),
        (["strangers"], None),
        (["Acme", "strangers"], Grant("viewer", ("acme",))),
        (["Acme", "Beta"], Grant("viewer", ("acme", "beta"))),
        (["Acme", "Auditors"], Grant("auditor")),
        (["Acme admins", "Auditors"], Grant("admin", ("acme",))),
        (["Acme admins", "Platform"], Grant("admin")),
        (["acme"], None),  # groups are told apart by their case
    ],
)
def test_several_groups(groups: list[str], expected: Grant | None) -> None:
    grants = {
        "Acme": Grant("viewer", ("acme",)),
        "Beta": Grant("viewer", ("beta",)),
        "Auditors": Grant("auditor"),
        "Acme admins": Grant("admin", ("acme",)),
        "Platform": Grant("admin"),
    }
    assert granted(groups, grants) == expected


@pytest.mark.parametrize(
    ("claims", "name", "expected"),
    [
        ({"groups": ["a", "b"]}, "groups", ("a", "b")),
        ({"groups": "a, b"}, "groups", ("a, b",)),
        ({"groups": []}, "groups", ()),
        ({}, "groups", None),
        ({"groups": None}, "groups", None),
        ({"groups": ["a", 1]}, "groups", ()),
        ({"groups": {"a": True}}, "groups", ()),
        ({"groups": 7}, "groups", ()),
        ({"realm_access": {"roles": ["a"]}}, "realm_access.roles", ("a",)),
        ({"realm_access": ["roles"]}, "realm_access.roles", None),
        ({"https://example.com/groups": ["a"]}, "https://example.com/groups", ("a",)),
    ],
)
def test_the_claim(claims: Mapping[str, object], name: str, expected: tuple[str, ...] | None) -> None:
    assert groups_in(claims, name) == expected
