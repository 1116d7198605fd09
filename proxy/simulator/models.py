"""`/models`: which models a key may use, as OpenAI answers it."""

import json

from proxy.simulator.options import Options
from proxy.simulator.prices import RESPONSE_PRICES, TRANSCRIPTION_PRICES

PATHS = frozenset({"/v1/models", "/models"})
CREATED = 1_750_000_000  # nobody reads it


def answer(options: Options, key: str) -> tuple[int, str]:
    """Return the status and the body."""
    if key not in options.api_keys:
        message = "Incorrect API key provided."
        details = {
            "message": message,
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_api_key",
        }
        return 401, json.dumps({"error": details})
    names = sorted({*RESPONSE_PRICES, *TRANSCRIPTION_PRICES, *options.extra_models})
    listed = [{"id": name, "object": "model", "created": CREATED, "owned_by": "openai"} for name in names]
    return 200, json.dumps({"object": "list", "data": listed})
