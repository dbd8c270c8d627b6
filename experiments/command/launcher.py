"""hydra/launcher=ray: the jobs of a sweep in the workers of Ray, on one machine or many; its settings."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SOCKET = "/ray/session_2026-12-31_23-59-59_999999_9999999/sockets/plasma_store"  # as Ray names one in its folder
LONGEST = 107 - len(SOCKET)  # what the system's 107 bytes for the path of a socket leave


def _ray_init() -> dict[str, Any]:
    """Arguments of ray.init; None is Ray's own choice.

    The plugin would give an object store's size, with which Ray joins no cluster that runs already.
    """
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    return {
        "address": None,
        "num_cpus": None,
        "object_store_memory": None,
        "include_dashboard": False,
        "runtime_env": {"env_vars": {"PYTHONPATH": path}},  # this code, not another that may be installed there
    }


def refusal(error: OSError) -> str:
    """What to do where Ray does not start: it is not at its address, or its sockets have no place."""
    if isinstance(error, ConnectionError):
        return str(error)
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    return (
        f"Ray cannot begin in {folder} ({error}): set TMPDIR to a folder that can be written and whose path has "
        f"at most {LONGEST} bytes, as /tmp"
    )


@dataclass
class Ray:
    """Arguments of ray.init, and of ray.remote for each job."""

    init: dict[str, Any] = field(default_factory=_ray_init)
    # None would be no core rather than Ray's own choice of one: all jobs would begin at once.
    remote: dict[str, Any] = field(default_factory=lambda: {"num_cpus": 1, "num_gpus": None})


@dataclass
class RayLauncher:
    """hydra/launcher=ray: the jobs of a sweep in the workers of Ray, on one machine or many."""

    _target_: str = "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher"
    ray: Ray = field(default_factory=Ray)
