"""`talkmeter demo`: the proxy, a simulated upstream and a few conversations, with nothing to set up."""

from proxy.demo.show import run

__all__ = ["run"]
