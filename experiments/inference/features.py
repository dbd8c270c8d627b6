"""What a layer of a network computes of each clip: features, averaged over positions.

Conventions: features are (B, channels). A layer is called by its name among the network's modules, as in
`network.named_modules()`, or POOLED, the input of the classifier, which is the last convolution or dense layer. Of what
a layer gives, the clips are the first axis; of four axes the channels are the second one, of three the last, as of
tokens; those of dense layers and of LayerNorm are always last.
"""

import torch
from torch import nn

from data.errors import UserError, in_short, listed
from data.settings import POOLED

LAST = (nn.Linear, nn.LayerNorm)  # layers whose channels are the last axis
DEPTH = 2  # parts of the names that a message lists
SHOWN = 40  # of them
CLIPS = 2  # that a network is tried on


class Features:
    """A layer's features in a network's latest forward pass: calling the object hands them out, once. Of a layer that
    is applied several times in a pass the last time counts.

    Args:
        network: is applied by somebody else.
        layer: see the module.
        key: the setting that names the layer.

    Raises:
        UserError: the network has no such layer; those that it has are listed.
    """

    def __init__(self, network: nn.Module, layer: str = POOLED, key: str = "layer") -> None:
        self._name = f"{key}={layer}"
        self._latest: object = None
        if layer == POOLED:
            *_, classifier = (each for each in network.modules() if isinstance(each, nn.Conv2d | nn.Linear))
            self._hook = classifier.register_forward_pre_hook(self._keep_input)
            return
        layers = {name: each for name, each in network.named_modules() if name}
        if layer not in layers:
            names = [name for name in layers if name.count(".") < DEPTH]
            raise UserError(
                f"{self._name}: the network has no such layer; choose {POOLED}, the input of its classifier, or one of "
                f"these, or a layer in one of them:\n{listed(names, shown=SHOWN)}"
            )
        self._hook = layers[layer].register_forward_hook(self._keep_output)

    def close(self) -> None:
        """Leave the network alone again."""
        self._hook.remove()

    def __call__(self, clips: int) -> torch.Tensor:
        """The features of a pass over so many clips, (clips, channels).

        Raises:
            UserError: the layer took no part in it, or gave something else than a map of each clip.
        """
        found, self._latest = self._latest, None
        if not isinstance(found, torch.Tensor) or found.ndim != 2 or len(found) % clips:
            shape = tuple(found.shape) if isinstance(found, torch.Tensor) else in_short(found)
            raise UserError(
                f"{self._name}: this layer gives no map of channels for each clip (of {clips} clips: {shape}): choose "
                f"another one, or {POOLED}, the input of the classifier"
            )
        return found.unflatten(0, (clips, -1)).mean(1)  # of networks that hear a clip in patches there are several

    def _keep_input(self, layer: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        self._latest = _pooled(inputs[0], isinstance(layer, LAST))

    def _keep_output(self, layer: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        first = output[0] if isinstance(output, tuple) and output else output
        self._latest = _pooled(first, isinstance(layer, LAST)) if isinstance(first, torch.Tensor) else first


def _pooled(values: torch.Tensor, channels_last: bool) -> torch.Tensor:
    """The mean over all axes but the first one and the channels."""
    positions = tuple(range(1, values.ndim - 1)) if channels_last or values.ndim == 3 else tuple(range(2, values.ndim))
    return values.mean(positions) if positions else values


class WithFeatures(nn.Module):
    """A network whose answer is logits and features side by side: (B, 1, mels, frames) -> (B, classes + channels)."""

    def __init__(self, network: nn.Module, layer: str) -> None:
        super().__init__()
        self.network, self._features = network, Features(network, layer)

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        logits = self.network(spectrograms)
        return torch.cat([logits, self._features(len(logits))], dim=1)


@torch.no_grad()
def channels_of(network: nn.Module, layer: str, shape: tuple[int, ...], key: str) -> int:
    """How many channels a layer has, found by applying the network.

    Args:
        network: of any builder.
        layer: see the module.
        shape: of a log-mel, (1, 1, mels, frames).
        key: the setting that names the layer.

    Raises:
        UserError: the network has no such layer, or it gives no map of channels.
    """
    features, was_training = Features(network, layer, key), network.training
    try:
        device = next(network.parameters()).device
        network.eval()(torch.zeros(CLIPS, *shape[1:], device=device))
        return features(CLIPS).shape[1]
    finally:
        features.close()
        network.train(was_training)
