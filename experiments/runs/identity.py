"""What a run's results depend on, as nested settings and fingerprints, laid flat and compared.

Conventions: a flat name is the dotted path of keys, as on the command line.
"""

from collections.abc import Mapping
from typing import Any

IMPORTED = "imported"  # setting of a run that was taken over from others: checkpoint, or logits


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value, of mappings in mappings."""
    if isinstance(tree, Mapping):
        return {k: v for key, value in tree.items() for k, v in flat(value, f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): tree}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What two identities have not in common, in words."""
    before, now = flat(before), flat(now)
    keys = sorted(before.keys() | now.keys())
    return [f"{k}: {before.get(k)} there, {now.get(k)} asked for" for k in keys if before.get(k) != now.get(k)]
