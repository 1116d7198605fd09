"""The one catalogue of refusals: what an app, a person and a log are told when the answer is no.

Before the upgrade a refusal is an HTTP answer with OpenAI's error JSON; in mid-session it is one
`error` event and close 1008. Statuses and codes are those that the SDKs take for final: 402, 403 and
1008 are not retried, and LiveKit stops reconnecting only on a few strings in `code` or `type`.
Keys, prices and other tenants' figures never stand in a message.
"""

from dataclasses import dataclass, replace

CLOSE_POLICY = 1008
CLOSE_REASON_BYTES_MAX = 123
FINAL = frozenset(  # in `code` or `type`: what keeps a client that always reconnects from doing so
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "invalid_api_key",
        "account_deactivated",
        "billing_hard_limit_reached",
    }
)
MODEL_CHARS_MAX = 80  # of a model's name, which a client chose, in a message


@dataclass(frozen=True, slots=True)
class Refusal:
    """A "no": `name` for logs and metrics, the rest for the peer."""

    name: str
    http_status: int
    type: str
    code: str
    message: str
    budget: tuple[str, str] | None = None  # whose scope and window it is, where one has said no

    @property
    def close_reason(self) -> str:
        """Return the reason of the close frame: the code and as much message as fits."""
        text = f"{self.code}: {self.message}".encode()[:CLOSE_REASON_BYTES_MAX]
        return text.decode(errors="ignore")

    def as_final(self) -> "Refusal":
        """Return it as what ends a session: nobody may take it for something that a new one would help."""
        return self if FINAL & {self.type, self.code} else replace(self, type="insufficient_quota")


UNKNOWN_KEY = Refusal(
    "unknown_key",
    401,
    "invalid_request_error",
    "invalid_api_key",
    "This is not a Talkmeter API key, or it was revoked. Create one with `talkmeter key create`.",
)
KEY_MISSING = Refusal(
    "key_missing",
    401,
    "invalid_request_error",
    "invalid_api_key",
    "No API key was sent. Put a Talkmeter key into `Authorization: Bearer`, `api-key` or the browser"
    " subprotocol `openai-insecure-api-key.<key>`.",
)
KEY_EXPIRED = Refusal(
    "key_expired", 401, "invalid_request_error", "invalid_api_key", "This Talkmeter API key has expired."
)
KEY_REVOKED = Refusal(
    "key_revoked", 401, "invalid_request_error", "invalid_api_key", "This Talkmeter API key was revoked."
)
NOT_FOUND = Refusal(
    "not_found",
    404,
    "invalid_request_error",
    "unknown_url",
    "Talkmeter serves /v1/realtime, /realtime and /openai/v1/realtime here.",
)
UPGRADE_REQUIRED = Refusal(
    "upgrade_required",
    426,
    "invalid_request_error",
    "upgrade_required",
    "This is a WebSocket endpoint: connect with a Realtime client (ws:// or wss://).",
)
BAD_REQUEST = Refusal(
    "bad_request", 400, "invalid_request_error", "invalid_value", "The request could not be understood."
)
TOO_MANY_SESSIONS = Refusal(
    "too_many_sessions",
    429,
    "rate_limit_error",
    "too_many_sessions",
    "This Talkmeter instance holds as many sessions as it may (SESSIONS_MAX). Try again shortly.",
)
UPSTREAM_UNREACHABLE = Refusal(
    "upstream_unreachable", 502, "server_error", "upstream_unreachable", "The voice API cannot be reached."
)
UPSTREAM_TIMEOUT = Refusal(
    "upstream_timeout", 504, "server_error", "upstream_timeout", "The voice API did not answer in time."
)
DRAINING = Refusal("draining", 503, "server_error", "draining", "This Talkmeter instance is shutting down.")
DATABASE_DOWN = Refusal(
    "database_down",
    503,
    "server_error",
    "database_unavailable",
    "Talkmeter cannot check this key now, since its database is unreachable. Try again shortly.",
)
INTERNAL_ERROR = Refusal(
    "internal_error",
    500,
    "server_error",
    "internal_error",
    "Talkmeter failed to answer this request. Its log says why.",
)
DISK_FULL = Refusal(
    "disk_full",
    503,
    "server_error",
    "journal_unavailable",
    "Talkmeter has no disk space left to record usage, so it starts nothing new.",
)


def stopped(reason: str) -> Refusal:
    """Return the refusal of a session that an administrator stopped."""
    text = f"An administrator stopped this session{f': {reason}' if reason else '.'}"
    return Refusal("session_stopped", 403, "insufficient_quota", "session_stopped", text)


def unreadable(problem: str) -> Refusal:
    """Return the answer to a client message that could not be understood."""
    return Refusal("unreadable", 400, "invalid_request_error", "invalid_event", problem)


def limit_reached(name: str, figure: str) -> Refusal:
    """Return the refusal of a limit, by its name, that is set to `figure`."""
    refusal_name, text = f"limit_{name}", _LIMITS[name].format(figure) + f" (limit {name})."
    if code := _AT_THE_DOOR.get(name):
        return Refusal(refusal_name, TOO_MANY_SESSIONS.http_status, "rate_limit_error", code, text)
    return Refusal(refusal_name, 403, "insufficient_quota", "session_limit_exceeded", text)


_LIMITS = {
    "session_seconds": "A session may last {} here",
    "idle_seconds": "Nothing was heard from the user for {}",
    "session_cost": "A session may cost {} here",
    "minute_cost": "A session may cost {} within a minute here",
    "responses": "A session may have {} responses here",
    "self_talk": "The model may answer {} times without anything from the user",
    "input_tokens": "The input of a response may have {} tokens here, and this conversation has grown longer",
    "sessions": "{} sessions may run at the same time here. Try again when one has ended",
    "sessions_per_minute": "{} sessions may begin within a minute here. Try again shortly",
}
_AT_THE_DOOR = {"sessions": "too_many_sessions", "sessions_per_minute": "rate_limit_exceeded"}


def model_not_allowed(model: str) -> Refusal:
    """Return the refusal of a model that the rules of a tenant or a key exclude."""
    text = f"The model {model[:MODEL_CHARS_MAX]!r} may not be used with this API key."
    return Refusal("model_not_allowed", 403, "invalid_request_error", "model_not_allowed", text)


def budget_spent(scope: str, window: str) -> Refusal:
    """Return the refusal of a budget that has nothing left; names its scope and window only."""
    return Refusal(
        "budget_spent",
        402,
        "insufficient_quota",
        "insufficient_quota",
        f"The {window} budget of this {scope} is spent.",
    )


def budget_unknown(scope: str, window: str) -> Refusal:
    """Return the refusal where a budget could not be asked, and may not be spent unasked."""
    return Refusal(
        "budget_unknown",
        503,
        "insufficient_quota",
        "insufficient_quota",
        f"The {window} budget of this {scope} cannot be checked now, since Talkmeter's database does not"
        " answer. Try again shortly.",
    )


def model_unpriced(model: str | None) -> Refusal:
    """Return the refusal of a model without a price, where a budget has an amount."""
    return Refusal(
        "model_unpriced",
        403,
        "invalid_request_error",
        "model_not_allowed",
        f"There is no price for the model {(model or '')[:100]!r}, and a budget encloses this session: import"
        " its prices first (`talkmeter prices`).",
    )
