"""Which of several processes this one is, known from the environment before anything is imported or connected."""

import os


def started_processes() -> int:
    """How many processes torchrun, SLURM or Fabric started for this command; 1 if none of them did."""
    if (size := int(os.environ.get("WORLD_SIZE", "0"))) > 0:
        return size
    # As Lightning: a shell that SLURM gave has its variables too, and is one process.
    alone = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return 1 if alone or "SLURM_PROCID" not in os.environ else int(os.environ.get("SLURM_NTASKS", "1"))


def is_first() -> bool:
    """Whether this process is the only one or the first one; known before anything is connected."""
    names = ["RANK", "LOCAL_RANK", "SLURM_PROCID"] if started_processes() > 1 else []
    return all(int(os.environ.get(name, "0")) == 0 for name in [*names, "NODE_RANK"])
