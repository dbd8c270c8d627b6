"""VGGish's weights from the files in which they are published: torchvggish's state dict, or Keras' HDF5 file.

Conventions: the result is a state dict of torchvggish, which is that of teachers/vggish.py. TensorFlow's own checkpoint
needs TensorFlow to be read, and is refused with the way out.
Source: names of the layers of a Keras conversion as in DTaoo/VGGish, vggish.py: conv1 ... conv4/conv4_2,
vggish_fc1/fc1_1, vggish_fc1/fc1_2, vggish_fc2. TensorFlow's checkpoints of the first version are tables that end with
MAGIC (tensorflow/core/lib/io/format.h, kTableMagicNumber).
"""

from collections.abc import Collection
from pathlib import Path

from data.damage import WrongValueError, explain_damage
from data.errors import UserError
from data.hdf5_arrays import is_hdf5
from data.tensors import Tensors
from teachers.keras_files import convolution, dense, read_layers
from teachers.weights import read_weights, weights_files

MAGIC = bytes.fromhex("57fb808b247547db")
REMEDY = "fetch it again"
CONVOLUTIONS = (0, 3, 6, 8, 11, 13)  # their places in the network
DENSE = (0, 2, 4)


def read_vggish(path: Path, needed: Collection[str] = ()) -> Tensors:
    """The weights of a file.

    Args:
        path: of the file; what it is shows in its content.
        needed: names of the network's own; see teachers/weights.py.

    Raises:
        UserError: the file is missing, damaged, or holds no VGGish.
    """
    weights_files(path)
    if is_hdf5(path):
        with explain_damage(path, REMEDY):
            return _from_keras(path)
    with open(path, "rb") as file:
        file.seek(-min(len(MAGIC), path.stat().st_size), 2)
        is_checkpoint = file.read() == MAGIC
    if is_checkpoint:
        raise UserError(
            f"{path} is a checkpoint of TensorFlow, which only TensorFlow can read: give torchvggish's conversion of "
            "it, vggish-10086976.pth from the releases of github.com/harritaylor/torchvggish, or save a state dict "
            "with its names"
        )
    return read_weights(path, needed)


def _from_keras(path: Path) -> Tensors:
    """The state dict of a file that Keras' save_weights wrote.

    Raises:
        WrongValueError: it has other layers.
    """
    layers = list(read_layers(path, REMEDY).values())
    if len(layers) != (count := len(CONVOLUTIONS) + len(DENSE)):
        raise WrongValueError(f"it has {len(layers)} layers with weights, VGGish {count} (6 convolutions, 3 dense)")
    state = {}
    for layer, place in zip(layers, CONVOLUTIONS, strict=False):
        state |= {f"features.{place}.{name}": tensor for name, tensor in convolution(layer).items()}
    for layer, place in zip(layers[len(CONVOLUTIONS) :], DENSE, strict=True):
        state |= {f"embeddings.{place}.{name}": tensor for name, tensor in dense(layer).items()}
    return state
