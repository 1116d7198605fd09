"""What `talkmeter check` asks before `serve` is trusted with traffic: each question a small function.

`findings.py` has the shape of an answer, `asking.py` asks all questions beside each other, and every other
module has the questions about one thing. Nothing here changes anything, hangs, or shows a secret.
"""

from proxy.checks.findings import Finding, Status

__all__ = ["Finding", "Status"]
