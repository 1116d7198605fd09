"""The Dockerfile, by a few rules of our own."""

import re

from tests.deploy.files import ROOT, SETTINGS, image, image_environment, instructions, read

FROM = [one.rest for stage in image() for one in stage if one.word == "FROM"]
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PEPPER|DATABASE_URL|SMTP_URL")


def test_what_it_is_made_from_has_a_version() -> None:
    bases = [one.split()[0] for one in FROM]
    assert len(set(bases)) == 1, "the virtual environment of one is copied into the other"
    assert re.fullmatch(r"python:3\.\d+-slim", bases[0])


def test_it_ends_as_a_user_that_is_not_root() -> None:
    (user,) = instructions("USER")
    uid, gid = user.split(":")
    assert int(uid) > 0 < int(gid)
    (made,) = (one for one in instructions("RUN") if "useradd" in one)
    assert f"--uid {uid} --gid {gid}" in made and f"groupadd --system --gid {gid}" in made
    words = [one.word for one in image()[-1]]
    assert "RUN" not in words[words.index("USER") :], "what is done after USER is not done as root"


def test_no_secret_is_in_it() -> None:
    assert [name for name in image_environment() if SECRET.search(name)] == []
    assert "ARG" not in [one.word for stage in image() for one in stage], "arguments stay in its history"


def test_nothing_but_what_is_needed_is_copied() -> None:
    copied = [one.rest.split() for stage in image() for one in stage if one.word == "COPY"]
    sources = {source for words in copied if not words[0].startswith("--") for source in words[:-1]}
    assert sources == {"requirements", "migrations", "proxy"}
    allowed = {line.strip("!/") for line in read(ROOT / ".dockerignore").splitlines() if line.startswith("!")}
    assert allowed == sources
    assert "ADD" not in [one.word for stage in image() for one in stage]


def test_what_running_leaves_is_not_copied() -> None:
    """A `.env`, a database or a pepper may lie where somebody ran it, in a folder that is copied too."""
    lines = read(ROOT / ".dockerignore").splitlines()
    left = {
        line for line in read(ROOT / ".gitignore").splitlines() if re.search(r"env$|db|journal|pepper", line)
    }
    assert {".env", "*.db", "*.pepper"} < left - {".venv/"}
    assert {f"**/{line}" for line in left} <= set(lines[-len(left) :]), "what is allowed comes before"


def test_others_can_read_what_is_copied() -> None:
    """It is copied with the rights that it has where it is built: under umask 077 they are root's alone."""
    (given,) = (part for part in commands() if part.startswith("chmod "))
    copied = [one.rest.split()[-1] for one in image()[-1] if one.word == "COPY" and "--from" not in one.rest]
    assert given.split() == ["chmod", "-R", "go+rX", *copied]


def test_what_runs_is_compiled() -> None:
    """In a read-only image nobody can keep what he compiles, and its base comes without what is compiled."""
    compiling = [part for part in commands() if part.startswith("python -m compileall ")]
    for what in (".venv/lib", '"stdlib"', "/app/migrations", "/app/proxy"):
        assert [part for part in compiling if what in part], what
    # Whoever stores an image may give its files other times: without a word all would be compiled again.
    assert [part for part in compiling if "--invalidation-mode unchecked-hash" not in part] == []


def test_what_installs_is_not_in_it() -> None:
    installs, *later = (part for part in commands() if "requirements/" in part or " pip " in part)
    assert installs == "sh requirements/venv.sh run"
    (left,) = later
    assert left.endswith(" pip uninstall --quiet --yes uv pip")


def commands() -> list[str]:
    """Return what is run while it is built, one command each."""
    runs = (one.rest for stage in image() for one in stage if one.word == "RUN")
    return [" ".join(part.split()) for run in runs for part in run.split(" && ")]


def test_it_says_how_it_is_run_stopped_and_looked_at() -> None:
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    assert instructions("ENTRYPOINT") == ['["python", "-m", "proxy"]'], "a shell would not hand SIGTERM on"
    assert instructions("CMD") == ['["serve"]']
    assert len(instructions("HEALTHCHECK")) == 1
    ours = {name for name in image_environment() if name.startswith("TALKMETER_")}
    assert ours and ours <= SETTINGS


def test_exposed_ports_are_those_it_listens_at() -> None:
    (exposed,) = instructions("EXPOSE")
    listens = [image_environment()[f"TALKMETER_{name}"] for name in ("LISTEN", "ADMIN_LISTEN")]
    assert [f"0.0.0.0:{port}" for port in exposed.split()] == listens
