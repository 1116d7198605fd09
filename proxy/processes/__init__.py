"""Which processes a `talkmeter serve` is made of, what they are told, and how they end.

One process that relays, and the control plane's, its child; with `--workers N` a parent that relays nothing,
N such processes and one control plane. What these do in their lives is in `proxy.app` and `proxy.control`.
"""
