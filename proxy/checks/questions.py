"""All questions, in the order in which their findings are shown."""

from collections.abc import Sequence

from proxy.checks.asking import Question, ask_all
from proxy.checks.database import ask_database
from proxy.checks.findings import Finding, failed, ok, warning
from proxy.checks.journal import ask_journal
from proxy.checks.machine import ask_machine
from proxy.checks.places import ask_addresses, ask_ports
from proxy.checks.services import ask_bill, ask_mail, ask_sign_in
from proxy.checks.tls import ask_tls
from proxy.checks.upstream import ask_upstream
from proxy.settings import SettingsError, load

QUESTIONS: Sequence[Question] = (
    Question(("clock", "files"), ask_machine, "see that this system can be asked"),
    Question(
        (
            "database",
            "database role",
            "database clock",
            "key pepper",
            "periods",
            "rate cards",
            "models",
        ),
        ask_database,
        "see that TALKMETER_DATABASE_URL is right, that it runs, lets this machine in, and is migrated",
    ),
    Question(
        ("journal", "journal disk", "journal backlog"),
        ask_journal,
        "set TALKMETER_JOURNAL_PATH to a file in a folder that this user may write, on a disk of its own",
    ),
    Question(("apps' port", "control port"), ask_ports, "set TALKMETER_LISTEN and TALKMETER_ADMIN_LISTEN"),
    Question(("public URL", "metrics"), ask_addresses, "set TALKMETER_PUBLIC_URL"),
    Question(
        ("TLS", "TLS expiry", "TLS names"), ask_tls, "set TALKMETER_TLS_CERT and TALKMETER_TLS_KEY to a pair"
    ),
    Question(
        ("upstream", "upstream key", "upstream clock"),
        ask_upstream,
        "see that TALKMETER_UPSTREAM_URL is right, and that this machine is let out to it",
    ),
    Question(
        ("provider's bill",), ask_bill, "set TALKMETER_UPSTREAM_ADMIN_KEY to an admin key, or to nothing"
    ),
    Question(("sign-in",), ask_sign_in, "see that TALKMETER_OIDC_ISSUER is right and answers this machine"),
    Question(("mail",), ask_mail, "see that TALKMETER_SMTP_URL is right and answers this machine"),
)
NAMES = ("settings", *(name for question in QUESTIONS for name in question.names))


def check() -> list[Finding]:
    """Return what is found with the settings of this process; with settings that cannot be read only that."""
    warnings: list[str] = []
    try:
        settings = load(warnings.append)
    except SettingsError as error:
        text = "; ".join(error.problems)
        return [failed("settings", text, "correct these variables, in the environment or in `.env`")]
    return [read_settings(warnings), *ask_all(QUESTIONS, settings)]


def read_settings(warnings: Sequence[str]) -> Finding:
    """Return whether all variables that look like settings are some."""
    if warnings:
        return warning("settings", "; ".join(warnings), "correct the name, or take it away: it does nothing")
    return ok("settings", "all can be read")
