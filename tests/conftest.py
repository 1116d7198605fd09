"""Settings for all tests: how hypothesis searches."""

from hypothesis import HealthCheck, settings

# No deadline: a busy machine is not a bug. Examples that failed are kept in `.hypothesis`.
settings.register_profile("talkmeter", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("talkmeter")
