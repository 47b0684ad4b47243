"""What holds for every test."""

from hypothesis import settings

# No test is timed, for machines are busy; and the same examples every time, so that a red run can be seen again.
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")
