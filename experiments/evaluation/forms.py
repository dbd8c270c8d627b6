"""The numeric forms of one student, and under which names their metrics and costs stand in score.json.

Conventions: "float" is the trained network, "ptq" the integers before they were trained, "stored" what is in the file,
as a microcontroller computes it, and "host" the file by a PC's kernels. Where a log-mel in integers took the place of
the one that the student was trained with, "float_front_end" is the stored form with the latter. Where a student has
tensors of recording devices, each of these forms is told the device of a clip, and "general" is the stored one that is
not. The stored form is the run's result: its metrics are named as those of any run, test/<metric>, and its costs
<cost>; those of the others <form>/<name>.
"""

FLOAT, PTQ, STORED, HOST, GENERAL = "float", "ptq", "stored", "host", "general"
FLOAT_FRONT_END = "float_front_end"
PREFIXES = {STORED: "test"}  # of the metrics' names, where they are not the form's own name


def metric_prefix(form: str) -> str:
    """What the names of a form's metrics begin with, before a slash."""
    return PREFIXES.get(form, form)


def difference_name(form: str, other: str, metric: str) -> str:
    """Of a metric of a form less that of another one."""
    return f"{metric_prefix(form)}/minus_{other}/{metric}"


def agreement_name(form: str, other: str) -> str:
    """Of the share of clips that get the same class in a form and another one."""
    return f"{metric_prefix(form)}/agreement_with_{other}"


def cost_prefix(form: str) -> str:
    """What the names of a form's costs begin with."""
    return "" if form == STORED else f"{form}/"
