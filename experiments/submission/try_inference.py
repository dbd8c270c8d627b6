"""Call an inference package of DCASE 2025 Task 1 as the organisers' scripts do, in a process of its own.

Conventions: the arguments are the folder that holds the package, the package's name and a module's. The last line of
what it prints is JSON: `defects`, sentences, and by device `macs`, torchinfo's multiply-accumulates of one input, and
`bytes` of the parameters. This file imports nothing of ours, so that a package is seen to need nothing of ours either.
Source: what https://github.com/CPJKU/dcase2025_task1_inference, test_complexity.py, complexity.py and
evaluate_submission.py call, with which arguments, and what they do with the results.
"""

import copy
import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

FUNCTIONS = ("predict", "load_model", "load_inputs", "get_model_for_device")
DEVICES = ("a", "b", "c", *(f"s{number}" for number in range(1, 11)), "unknown")
UNKNOWN = ("s4", "s10", "unknown")  # that no student was trained on
CLASSES = {
    *("airport", "bus", "metro", "metro_station", "park", "public_square", "shopping_mall", "street_pedestrian"),
    *("street_traffic", "tram"),
}
COUNTED = {"float32", "float16", "bfloat16", "int8", "uint8", "int32"}  # parameters that the organisers can count


def main(folder: str, package: str, module: str) -> None:
    """Print what is wrong with a module, and what its networks cost."""
    sys.path.insert(0, folder)
    answer: dict[str, Any] = {"defects": [], "devices": {}}
    try:
        api = importlib.import_module(f"{package}.{module}")
        missing = [name for name in FUNCTIONS if not callable(getattr(api, name, None))]
        if missing:
            answer["defects"].append(f"it has no function {', '.join(missing)}")
        else:
            sound = Path(folder) / package / "resources" / "dummy.wav"
            answer["devices"] = _costs(api, str(sound), answer["defects"])
            _predict(api, str(sound), answer["defects"])
    except Exception as error:  # of whatever anybody's code raises
        answer["defects"].append(f"{type(error).__name__}: {error}")
    print(f"\n{json.dumps(answer)}")  # a line of its own, whatever the module printed


def _costs(api: ModuleType, sound: str, defects: list[str]) -> dict[str, dict[str, int]]:
    """The costs of each device's network, as the organisers count them."""
    import torch
    import torchinfo

    model, found = api.load_model(), {}
    if not isinstance(model, torch.nn.Module) or not isinstance(getattr(model, "model", None), torch.nn.Module):
        defects.append("load_model returns no torch module that has a torch module `model`, whose state is saved")
    inputs = api.load_inputs([sound] * len(DEVICES), list(DEVICES), model)
    if len(inputs) != len(DEVICES):
        defects.append(f"load_inputs returns {len(inputs)} inputs of {len(DEVICES)} files")
        return {}
    for device, one in zip(DEVICES, inputs, strict=True):
        network = api.get_model_for_device(model, device)
        if not isinstance(network, torch.nn.Module):
            defects.append(f"get_model_for_device returns no torch module for device {device}")
            return {}
        kinds = {str(parameter.dtype).removeprefix("torch.") for parameter in network.parameters()}
        if odd := sorted(kinds - COUNTED):
            defects.append(f"parameters of device {device} are of {', '.join(odd)}, which the organisers do not count")
        summary = torchinfo.summary(copy.deepcopy(network).float(), input_size=tuple(one.shape), verbose=0)
        size = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
        found[device] = {"macs": int(summary.total_mult_adds), "bytes": int(size)}
    return found


def _predict(api: ModuleType, sound: str, defects: list[str]) -> None:
    """Whether predictions have the form that they must have."""
    import torch

    logits, classes = api.predict(
        file_paths=[sound] * len(DEVICES), device_ids=list(DEVICES), model_file_path=None, use_cuda=False
    )
    if set(classes) != CLASSES or len(classes) != len(CLASSES):
        defects.append(f"predict names the classes {', '.join(map(str, classes))}, not the task's ten, each once")
        return
    if len(logits) != len(DEVICES) or any(tuple(one.shape) != (len(classes),) for one in logits):
        defects.append(f"predict returns {len(logits)} tensors, not {len(DEVICES)} of {len(classes)} logits each")
        return
    if not torch.isfinite(torch.stack(list(logits)).float()).all():
        defects.append("predict returns logits that are no finite numbers")
    of_device = dict(zip(DEVICES, logits, strict=True))
    if any(not torch.equal(of_device[UNKNOWN[0]], of_device[other]) for other in UNKNOWN[1:]):
        defects.append(f"devices that nobody was trained on, {', '.join(UNKNOWN)}, have different logits of one sound")


if __name__ == "__main__":
    main(*sys.argv[1:])
