"""hydra/launcher=ray: the jobs of a sweep in the workers of Ray, on one machine or many; its settings."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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


@dataclass
class Ray:
    """Arguments of ray.init, and of ray.remote for each job."""

    init: dict[str, Any] = field(default_factory=_ray_init)
    remote: dict[str, Any] = field(default_factory=lambda: {"num_cpus": None, "num_gpus": None})


@dataclass
class RayLauncher:
    """hydra/launcher=ray: the jobs of a sweep in the workers of Ray, on one machine or many."""

    _target_: str = "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher"
    ray: Ray = field(default_factory=Ray)
