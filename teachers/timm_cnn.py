"""Any image network of timm, fine-tuned from its published weights on spectrograms as images of one channel.

Conventions: log-mels (B, 1, mels, frames) in, logits (B, classes) out. timm sums the weights of the first convolution
over the three colours into one channel and leaves the old classifier out.
Source: Wightman, "PyTorch Image Models"; image networks for sound: Gong et al., "PSLA", IEEE/ACM TASLP 2021.
"""

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import nn

from data import bibliography
from data.errors import UserError, in_short, require
from data.ranges import Classes, Dropout
from data.resources import IMAGENET, IMAGENET_21K, JFT, Resource
from data.tensors import differences, refuse_unfit, unfit
from teachers.entry import Pretraining, Teacher
from teachers.weights import needed_names, read_weights

# With its tag: without one timm takes weights of a noisy student, which learnt from JFT-300M, data that are not public.
DEFAULT = "tf_efficientnet_b0.in1k"
COLOURS = 3  # of the images that published weights are for
# Words of timm's tags ("augreg_in21k_ft_in1k") that name data. ImageNet-12k is a part of ImageNet-21k.
WORDS = {"in1k": IMAGENET, "in12k": IMAGENET_21K, "in21k": IMAGENET_21K, "in22k": IMAGENET_21K, "jft": JFT}
OTHER_DATA = {"swag", "6m", "indomain", "ssld"}  # that stands beside those words, or is that of a network's own teacher
# Networks that first learnt from DALL-E's or CLIP's answers, whose data are not those of the tag (Bao et al., "BEiT",
# ICLR 2022; Peng et al., "BEiT v2", 2022; Fang et al., "EVA-02", 2023).
TAUGHT = ("beit", "eva")


def timm_cnn(
    *,
    classes: Classes = 10,
    pretrained: bool = True,
    weights: str | Path | None = None,
    model_name: str = DEFAULT,
    drop_rate: Dropout = 0.0,
    drop_path_rate: Dropout = 0.0,
) -> nn.Module:
    """Build a network of timm.

    Args:
        classes: number of logits; the classifier is always new.
        pretrained: start from weights: `weights` if given, else timm's own from where it publishes them.
        weights: a file with a state dict as timm publishes it (model.safetensors).
        model_name: as in timm.list_models(); a variant of the weights may follow a dot.
        drop_rate, drop_path_rate: dropout before the classifier; stochastic depth.

    Raises:
        UserError: unknown name, one that cannot take one channel or these sizes, or weights that cannot be
            downloaded or do not fit.
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
    make = partial(
        timm.create_model,
        model_name,
        in_chans=1,
        num_classes=classes,
        drop_rate=drop_rate,
        drop_path_rate=drop_path_rate,
    )
    place = timm.get_pretrained_cfg(model_name)
    try:
        if weights:
            return _from_file(make, weights)
        return make(pretrained=pretrained)
    except TypeError as error:
        raise UserError(f"timm's {model_name} cannot be built so: {error}") from error
    except (RuntimeError, KeyError) as error:
        raise UserError(f"timm has no weights for {model_name} ({error}): set teacher.pretrained=false") from error
    except (OSError, HfHubHTTPError) as error:
        where = f"https://huggingface.co/{place.hf_hub_id}" if place.hf_hub_id else place.url
        raise UserError(
            f"cannot fetch the weights of {model_name} from {where} ({str(error).splitlines()[0]}): fetch "
            "model.safetensors there and name it with teacher.weights=FILE, or set teacher.pretrained=false"
        ) from error


def _from_file(make: Callable[..., nn.Module], weights: str | Path) -> nn.Module:
    """A network with the weights of a file, which timm adapts: names of other code, colours, the classifier.

    Args:
        make: timm's builder; other keyword arguments are added.
        weights: the file.

    Raises:
        UserError: they do not fit.
    """
    with torch.random.fork_rng(devices=[]):  # the new classifier is the same, whatever is built before
        network = make(pretrained=False)
    given = network.pretrained_cfg.get("classifier") or ()
    replaced = tuple(f"{name}." for name in ([given] if isinstance(given, str) else given))
    state = read_weights(weights, needed_names(network, replaced), replaced)
    own = {name: network.state_dict()[name] for name in needed_names(network, replaced)}
    remedy = f"give the weights of {network.pretrained_cfg['architecture']}, as timm publishes them"
    found = {name: state[name] for name in own if name in state}
    shapes = {name: tensor.shape for name, tensor in own.items()}
    if any(tensor.numel() > COLOURS * own[name].numel() for name, tensor in found.items()):
        refuse_unfit(weights, differences(shapes, found), remedy)
    refuse_unfit(weights, unfit({name: own[name] for name in found}, found), remedy)
    try:
        return make(pretrained=True, pretrained_cfg_overlay={"state_dict": dict(state)})
    except Exception as error:  # what is raised depends on timm's adaptation of this network
        kept = {name: tensor for name, tensor in state.items() if not name.startswith(replaced)}
        refuse_unfit(weights, differences(shapes, kept) or [in_short(str(error))], remedy)
        raise


def _declare_pretraining(arguments: Mapping[str, object]) -> Pretraining:
    """What the weights of the arguments' `model_name` were trained on, as far as timm's tag of them says."""
    import timm

    try:
        published = timm.get_pretrained_cfg(str(arguments.get("model_name", DEFAULT)))
    except RuntimeError:  # this version of timm has no such weights
        published = None
    if published is None:
        return Pretraining(is_complete=False)
    datasets, is_complete = datasets_of_tag(published.tag or "")
    is_complete &= not published.architecture.startswith(TAUGHT)
    source = f"https://huggingface.co/{published.hf_hub_id}" if published.hf_hub_id else published.url
    name = f"timm {published.architecture}.{published.tag}" if published.tag else f"timm {published.architecture}"
    model = Resource(name, source, type="model", licence=published.license) if source else None
    return Pretraining(datasets, model, is_complete)


def datasets_of_tag(tag: str) -> tuple[tuple[Resource, ...], bool]:
    """The data sets that a tag of timm's weights names, and whether these are all that the weights were trained on.

    A tag has the form "..._ft_...", what came first and what it was fine-tuned on. They are all if each part names one.

    >>> [[dataset.name for dataset in datasets_of_tag(tag)[0]] for tag in ("ns_jft_in1k", "augreg_in21k_ft_in1k")]
    [['JFT-300M', 'ImageNet'], ['ImageNet-21k', 'ImageNet']]
    >>> datasets_of_tag("clip_laion2b_ft_in1k")[1]
    False
    """
    parts = [part.split("_") for part in f"_{tag}_".split("_ft_")]
    found = dict.fromkeys(WORDS[word] for part in parts for word in part if word in WORDS)
    is_complete = all(WORDS.keys() & part for part in parts) and not OTHER_DATA.intersection(tag.split("_"))
    return tuple(found), is_complete


TEACHER = Teacher(
    build=timm_cnn,
    family="CNN",
    citation=bibliography.TIMM,
    published=_declare_pretraining,
)
