"""Any image network of timm, from its ImageNet weights, listening to one-channel pictures of sound.

Conventions: log-mels (B, 1, mels, frames) in, logits (B, classes) out. timm sums the three colours of the first
convolution into one channel and leaves the old classifier out.
Source: Wightman, "PyTorch Image Models"; image networks for sound: Gong et al., "PSLA", IEEE/ACM TASLP 2021.
"""

import difflib
from pathlib import Path

from torch import nn

from data.errors import UserError, listed, require
from teachers.weights import read_weights


def timm_cnn(
    *,
    classes: int = 10,
    pretrained: bool = True,
    weights: str | Path | None = None,
    model_name: str = "tf_efficientnet_b0",
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
) -> nn.Module:
    """Build a network of timm.

    Args:
        classes: number of logits; the classifier is always new.
        pretrained: start from weights: `weights` if given, else timm's own from their official place.
        weights: a file with a state dict as timm publishes it (model.safetensors).
        model_name: as in timm.list_models(); a variant of the weights may follow a dot.
        drop_rate, drop_path_rate: dropout before the classifier; stochastic depth.

    Raises:
        UserError: unknown name, one that cannot take one channel or these sizes, or weights that cannot be had or do
            not fit.
    """
    require("timm", "timm")
    import timm
    from huggingface_hub.errors import HfHubHTTPError

    if not timm.is_model(model_name):
        close = difflib.get_close_matches(model_name, timm.list_models(), n=8)
        raise UserError(
            f"timm has no model {model_name!r}; close to it: {', '.join(close) or 'none'}. All are listed by "
            "python -c 'import timm; print(timm.list_models())'"
        )
    source = {"pretrained_cfg_overlay": {"state_dict": read_weights(weights)}} if weights else {}
    place = timm.get_pretrained_cfg(model_name)
    try:
        return timm.create_model(
            model_name,
            pretrained=pretrained or bool(weights),
            in_chans=1,
            num_classes=classes,
            drop_rate=drop_rate,
            drop_path_rate=drop_path_rate,
            **source,
        )
    except TypeError as error:
        raise UserError(f"timm's {model_name} cannot be built so: {error}") from error
    except (RuntimeError, KeyError) as error:
        if not weights:
            raise UserError(f"timm has no weights for {model_name} ({error}): set teacher.pretrained=false") from error
        raise UserError(f"{weights} does not fit {model_name}:\n{listed(str(error).splitlines())}") from error
    except (OSError, HfHubHTTPError) as error:
        where = f"https://huggingface.co/{place.hf_hub_id}" if place.hf_hub_id else place.url
        raise UserError(
            f"cannot fetch the weights of {model_name} from {where} ({str(error).splitlines()[0]}): fetch "
            "model.safetensors there and name it with teacher.weights=FILE, or set teacher.pretrained=false"
        ) from error
