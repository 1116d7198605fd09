"""Talkmeter: a transparent WebSocket proxy for voice APIs that meters every conversation.

A pure `core` decides, thin shells do: `relay` carries the bytes, `store` keeps the money, `observe`
tells the people on call. `docs/architecture.md` has the map.
"""

__version__ = "0.1.0"
