"""Work for a process that is killed; such a process finds it here by name."""

from __future__ import annotations

import time

N_STEPS = 20


def in_steps(given, folder, begun):
    """Work that goes on where it was, as what is measured should, and says how often it was begun."""
    begun.set()
    (folder / f"begun {time.time()}").touch()
    steps = folder / "steps"
    for step in range(len(list(steps.iterdir())) if steps.exists() else 0, N_STEPS):
        steps.mkdir(exist_ok=True)
        time.sleep(0.02)
        (steps / str(step)).touch()
    (folder / "done").touch()
