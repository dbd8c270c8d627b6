"""A network that begins with the checkpoint of another training: `student.weights`, `teacher.start`."""

import dataclasses
import logging
from pathlib import Path

import pytest
import torch
from command import QUICK, run
from conftest import randomise_norms

from data.errors import UserError
from data.scenes import SCENES, ClipSet
from experiments.training import checkpoint
from experiments.training.pretrained import TEACHER, begin_from, read_pretrained
from students import build_student
from teachers import build_teacher

FRONT_END = {"mels": 64, "hop": 1000}
SMALL = {"cp_mobile": {"size": "6k"}, "baseline": {}, "cnn_gru": {"base_channels": 4, "units": 8}}
OTHERS = tuple("abc")


def described(builder: str, scenes: tuple[str, ...], **changes: object) -> checkpoint.Blueprint:
    """A student of some classes; `changes` are of its arguments."""
    arguments = {"classes": len(scenes), **SMALL[builder], **changes}
    return checkpoint.Blueprint(builder, arguments, FRONT_END, scenes, 32_000, "clips")


def saved(path: Path, blueprint: checkpoint.Blueprint) -> torch.nn.Module:
    """The network of a checkpoint that is written here."""
    network = randomise_norms(build_student(blueprint.builder, **blueprint.arguments))
    checkpoint.save(path, network, blueprint)
    return network


def output_of(network: torch.nn.Module, layer: str, spectrograms: torch.Tensor) -> torch.Tensor:
    found: list[torch.Tensor] = []
    hook = network.get_submodule(layer).register_forward_hook(lambda *called: found.append(called[2]))
    network.eval()(spectrograms)
    hook.remove()
    return found[0][0] if isinstance(found[0], tuple) else found[0]


@pytest.mark.parametrize(("builder", "new"), [("cp_mobile", 2), ("baseline", 1), ("cnn_gru", 1)])
def test_all_layers_before_the_classifier_answer_as_those_of_the_source(
    builder: str, new: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: the outputs of every layer of the source network, on the same input, but those of the layers that its
    classes decide: CP-Mobile's last convolution and its BatchNorm, the others' last dense layer. These are as built."""
    path, wanted = tmp_path / "c.safetensors", described(builder, OTHERS)
    source = saved(path, described(builder, SCENES))
    network = build_student(builder, **wanted.arguments)
    fresh = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    caplog.set_level(logging.INFO)
    begin_from(path, network, wanted)
    spectrograms = torch.randn(2, 1, 64, 64)
    layers = [name for name, part in source.named_modules() if list(part.parameters(recurse=False))]
    for name in layers[:-new]:
        assert torch.equal(output_of(network, name, spectrograms), output_of(source, name, spectrograms)), name
    for name in layers[-new:]:
        for part in network.get_submodule(name).state_dict():
            assert torch.equal(network.state_dict()[f"{name}.{part}"], fresh[f"{name}.{part}"])
    assert f"new are {', '.join(layers[-new:])}, for 3 classes" in caplog.text
    assert "other clips" not in caplog.text


def test_with_the_same_classes_the_classifier_is_taken_over_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: the source's logits; other names, or another order, of as many classes are other classes."""
    path, wanted = tmp_path / "c.safetensors", described("cp_mobile", SCENES)
    source, spectrograms = saved(path, wanted), torch.randn(2, 1, 64, 64)
    for scenes, same in ((SCENES, True), (SCENES[::-1], False)):
        network = build_student("cp_mobile", **wanted.arguments)
        begin_from(path, network, dataclasses.replace(wanted, scenes=scenes, clips="other splits"))
        assert torch.equal(network.eval()(spectrograms), source(spectrograms)) == same
        assert ("trained on other clips or splits" in caplog.text) == same
        caplog.clear()


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (described("cp_mobile", OTHERS, size="12k"), r"or width: .*: \(.*\) in the file, \(.*\) in the network .*6k"),
        (described("cp_mobile", OTHERS, grn=True), r"only in the network: 2.norm.gamma"),
        (described("cp_mobile", OTHERS, strides={"b2": (1, 1)}), None),
        (described("baseline", OTHERS), "architecture, cp_mobile, and this student is baseline: choose"),
        (
            dataclasses.replace(described("cp_mobile", OTHERS), mel={"mels": 128, "hop": 1000}),
            "trained on 64 bands of log_mel, this student hears 128 of log_mel: give .*student.mel.mels=64",
        ),
        (
            dataclasses.replace(described("cp_mobile", OTHERS), mel={"kind": "yamnet_mel"}, sample_rate=16_000),
            "64 of yamnet_mel: give student.mel.kind=log_mel",
        ),
    ],
)
def test_another_network_or_front_end_is_refused(
    wanted: checkpoint.Blueprint, said: str | None, tmp_path: Path
) -> None:
    """Oracle: the message: shapes, arguments, and what to give. Where layers of equal shapes are merely used otherwise,
    as with other strides, nothing is wrong."""
    path = tmp_path / "c.safetensors"
    saved(path, described("cp_mobile", SCENES))
    if said is None:
        read_pretrained(path, wanted)
        return
    with pytest.raises(UserError, match=said) as caught:
        read_pretrained(path, wanted)
    assert f"student.weights={path}" in str(caught.value)


def test_a_front_end_that_differs_in_less_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Oracle: by hand: the hop and the Fourier transform differ."""
    path, wanted = tmp_path / "c.safetensors", described("cp_mobile", OTHERS)
    saved(path, wanted)
    network = build_student("cp_mobile", **wanted.arguments)
    begin_from(path, network, dataclasses.replace(wanted, mel={"mels": 64, "hop": 500, "fft": 8192}))
    assert "other log-mels: hop 1000 there and 500 here, fft by default there and 8192 here" in caplog.text


def test_what_cannot_be_a_beginning_is_refused_before_anything_is_written(trained: Path, miniature: ClipSet) -> None:
    """Oracle: the messages: the run's own checkpoint, one of another width, a damaged one."""
    source = "runs/student/first/checkpoint.safetensors"
    (trained / "damaged").write_bytes((trained / source).read_bytes()[:-9])
    for wrong, said in {
        f"name=first student.weights={source}": "is of this run itself: choose another name",
        f"name=third student.size=12k student.weights={source}": "of another architecture or width",
        "name=third student.weights=damaged": "damaged is damaged",
    }.items():
        refused = run(trained, "student", f"data.root={miniature.root}", "distill=none", *QUICK, *wrong.split())
        assert refused.returncode == 1
        assert said in refused.stderr
        assert not (trained / "runs/student/third").exists()


SMALL_TEACHER = {"base_channels": 8, "cut_channels": [0, 0, 0], "pretrained": False}


def of_teacher(scenes: tuple[str, ...], **changes: object) -> checkpoint.Blueprint:
    """A CP-ResNet of some classes; `changes` are of its arguments."""
    arguments = {"classes": len(scenes), **SMALL_TEACHER, **changes}
    return checkpoint.Blueprint("cp_resnet", arguments, FRONT_END, scenes, 32_000, "clips", is_multi_label=True)


def test_a_teacher_goes_on_from_another_one_with_a_new_classifier(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Oracle: the source's tensors, but for those whose shape its classes decide, which are as built; with the same
    classes all of them; another argument that changes no shape is said."""
    path, wanted = tmp_path / "c.safetensors", of_teacher(OTHERS)
    source = randomise_norms(build_teacher("cp_resnet", **of_teacher(SCENES).arguments))
    checkpoint.save(path, source, of_teacher(SCENES))
    network = build_teacher("cp_resnet", **wanted.arguments)
    fresh, theirs = {name: tensor.clone() for name, tensor in network.state_dict().items()}, source.state_dict()
    caplog.set_level(logging.INFO)
    begin_from(path, network, dataclasses.replace(wanted, is_multi_label=False), kind=TEACHER)
    new = {name for name, tensor in fresh.items() if tensor.shape != theirs[name].shape}
    assert new
    layers = {name.rpartition(".")[0] for name in new}
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, (fresh if name.rpartition(".")[0] in layers else theirs)[name]), name
    assert f"new are {', '.join(sorted(layers))}, for 3 classes" in caplog.text
    network = build_teacher("cp_resnet", **wanted.arguments | {"classes": 10})
    begin_from(path, network, of_teacher(SCENES), kind=TEACHER)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in network.state_dict().items())
    assert "was trained with other" not in caplog.text


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (
            of_teacher(OTHERS, base_channels=16),
            r"or width: .* base_channels=8.*: give this teacher the same teach",
        ),
        (
            dataclasses.replace(of_teacher(OTHERS), builder="yamnet"),
            "cp_resnet, and this teacher is yamnet: choose",
        ),
        (
            dataclasses.replace(of_teacher(OTHERS), mel={"mels": 128, "hop": 1000}),
            "this teacher hears 128 of log_mel: give teacher.mel.kind=log_mel teacher.mel.mels=64",
        ),
    ],
)
def test_a_teacher_goes_on_from_none_of_another_network_or_front_end(
    wanted: checkpoint.Blueprint, said: str, tmp_path: Path
) -> None:
    """Oracle: the message, with the setting that names the file."""
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, build_teacher("cp_resnet", **of_teacher(SCENES).arguments), of_teacher(SCENES))
    with pytest.raises(UserError, match=said) as caught:
        read_pretrained(path, wanted, TEACHER)
    assert f"teacher.start={path}" in str(caught.value)


def test_other_arguments_of_the_same_layers_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Oracle: by hand: strides of a student, whose tensors are the same."""
    path, wanted = tmp_path / "c.safetensors", described("cp_mobile", OTHERS, strides={"b2": (1, 1)})
    saved(path, described("cp_mobile", SCENES))
    begin_from(path, build_student("cp_mobile", **wanted.arguments), wanted)
    assert (
        "with other student.size and student.arguments: strides by default there and {'b2': (1, 1)} here" in caplog.text
    )
