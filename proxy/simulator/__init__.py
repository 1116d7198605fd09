"""A simulated OpenAI Realtime upstream: real sockets, real audio lengths, honest bills, and an oracle.

It shares no code with the rest of the proxy. What it bills follows from the audio and the context
that were really exchanged, and each bill stands in the truth file before it leaves.
"""

from proxy.simulator.faults import Faults
from proxy.simulator.options import Options
from proxy.simulator.server import Simulator, run, serve
from proxy.simulator.truth import Truth, read, total_usd

__all__ = ["Faults", "Options", "Simulator", "Truth", "read", "run", "serve", "total_usd"]
