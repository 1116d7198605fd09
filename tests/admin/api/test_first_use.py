"""Models are built when they are first needed, which several threads may do at once: all see the same."""

import subprocess
import sys

CODE = """
import sys
from threading import Barrier, Thread
from pydantic import ValidationError
from proxy.admin.api.table import ROUTES

models = {one for r in ROUTES for one in (r.params, r.body, r.result, r.asked) if one}
threads, seen = 16, {}
together = Barrier(threads)

def told(model):
    try:
        return type(model.model_validate({})) is model
    except ValidationError as error:
        return str(error)

def look(number):
    together.wait()
    seen[number] = {model: told(model) for model in models}

sys.setswitchinterval(1e-6)
assert not any(model.__pydantic_complete__ for model in models), "none is needed before"
running = [Thread(target=look, args=[number]) for number in range(threads)]
for one in running:
    one.start()
for one in running:
    one.join()
alone = {model: told(model) for model in models}
assert len(seen) == threads and all(one == alone for one in seen.values())
assert False not in alone.values() and len(alone) > 50
"""


def test_threads_that_need_models_first_see_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
