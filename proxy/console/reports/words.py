"""What parts of a report are called on its pages. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from proxy.core.records import Kind
from proxy.core.usage import METER_LABELS, Meter, Modality
from proxy.store.comparison import GROUPS as COMPARED_BY
from proxy.store.groups import GROUPS, TAG
from proxy.store.reports import Basis

Options = Sequence[tuple[str, str]]

_GROUP_LABELS: Mapping[str, str] = {
    "tenant": "Tenant",
    "project": "Project",
    "key": "API key",
    "end_user": "End user",
    "model": "Model",
    "kind": "Kind",
    "status": "Status",
    "session": "Session",
    "hour": "Hour",
    "day": "Day",
    "week": "Week from",
    "month": "Month",
    "period": "Accounting month",
    "meter": "Meter",
    "modality": "Modality",
}
_VALUES: Mapping[str, Mapping[str, str]] = {"meter": METER_LABELS}
_PARAMS: Mapping[str, str] = {
    "to": "until, not including",
    "group_by": "grouped by",
    "key": "API key",
    "end_user": "end user",
    "period": "accounting month",
    "unrated": "without a price",
    "tz": "time zone",
    "basis": "what times say",
    "sessions": "count sessions",
}
_BY_ID = ("project", "end_user")
NONE = "none"

GROUP_OPTIONS: Options = (("", "–"), *((name, _GROUP_LABELS[name]) for name in GROUPS))
COMPARED_OPTIONS: Options = (("", "–"), *((name, _GROUP_LABELS[name]) for name in COMPARED_BY))
KIND_OPTIONS: Options = (("", "All"), *((one.value, one.value.capitalize()) for one in Kind))
METER_OPTIONS: Options = (("", "All"), *((one.value, METER_LABELS[one]) for one in Meter))
MODALITY_OPTIONS: Options = (("", "All"), *((one.value, one.value.capitalize()) for one in Modality))
BASIS_OPTIONS: Options = (
    (Basis.OCCURRED.value, "when it occurred"),
    (Basis.PERIOD.value, "the month it is accounted in"),
)


def group_label(name: str) -> str:
    """Return what a group is called; that of a tag by its name."""
    if name.startswith(TAG):
        return f"Tag {name.removeprefix(TAG)}"
    return _GROUP_LABELS.get(name, name)


def group_word(name: str) -> str:
    """Return the same within a sentence."""
    label = group_label(name)
    return label if label.startswith("API") else label[0].lower() + label[1:]


def param_word(name: str) -> str:
    """Return what a parameter of a question is called within a sentence."""
    return _PARAMS.get(name, name)


def id_column(group: str) -> str:
    """Return the column of a report's row that says what is meant: names need not be unique."""
    return f"{group}_id" if group in _BY_ID else group


def text_of(group: str, row: Mapping[str, Any]) -> str:
    """Return what a row's value of a group is called."""
    value = row[group]
    if group == "key" and row["key_name"]:
        value = row["key_name"]
    return NONE if value is None else _VALUES.get(group, {}).get(value, value)


def time_field(text: str) -> str:
    """Return the type of the field that keeps a time: one for days cannot hold an instant."""
    return "date" if re.fullmatch(r"(\d{4}-\d\d-\d\d)?", text, re.ASCII) else "text"


def with_option(options: Options, value: str) -> Options:
    """Return options with one that is none of them, so that a form keeps what an address says."""
    return options if not value or value in {name for name, _ in options} else (*options, (value, value))


def group_options(chosen: Sequence[str], options: Options) -> list[tuple[str, Options]]:
    """Return the fields that a form has for groups: which is chosen, out of which.

    They are at least three, and one of them is free. One that is not among the options,
    such as a tag, is added to them where it is chosen.
    """
    known = {name for name, _ in options}
    fields = [(name, options if name in known else (*options, (name, group_label(name)))) for name in chosen]
    return fields + [("", options)] * max(1, 3 - len(fields))


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence has them: a, b and c."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
