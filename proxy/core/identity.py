"""Who a session belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Principal:
    """What an API key proves: its tenant, the project it is for, and the tags it carries."""

    api_key_id: str
    tenant_id: str
    tenant: str  # the tenant's name, for people and metrics
    project_id: str | None = None
    project: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
