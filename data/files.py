"""Writing a file that is there whole, or not at all."""

import os
from pathlib import Path


def write_whole(path: str | Path, data: bytes) -> Path:
    """Write under a temporary name, then rename; returns the path."""
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
    return path
