"""stage=data."""

import json

from omegaconf import DictConfig

from data.packing import source_of
from experiments.datasets import RECEIPT, _fetch, _settings, _stamps, _unchanged, _wavs, log, read_and_pack
from experiments.runs.layout import write_text


def run(cfg: DictConfig) -> None:
    """stage=data: fetch what is missing, check it, pack it, and nothing else."""
    if (waves := _unchanged(cfg)) is not None:
        log.info("%s: the lists and every sound file are unchanged, nothing to do", waves)
        return
    if cfg.data.kind == "tau22":
        _fetch(cfg)
    packed = read_and_pack(cfg)
    receipt = {
        "settings": _settings(cfg),
        "waves": str(packed.waves),
        "source": source_of(packed.waves),
        "files": _stamps([*packed.clips.sources, *_wavs(cfg.data.impulses)]),
    }
    write_text(packed.waves.parent / RECEIPT, json.dumps(receipt, indent=1))
