"""The C of calibrated answers: the functions of templates/, and the table of one network.

Conventions: files are name -> text, the same text for the same network. The C equals students/quantize/answer.py in
every bit.
"""

from collections.abc import Mapping

from data.errors import UserError
from students.device.c_text import Table, licensed, table
from students.quantize.answer import LARGEST, Confidence, exponentials
from students.quantize.integer import IntegerNetwork

TEMPLATES = ("scenelet_answer.c", "scenelet_answer.h")
TABLES, EXPONENTIALS = "scenelet_answer_tables", "scenelet_exponentials"
HEADER = """#ifndef SCENELET_ANSWER_TABLES_H
#define SCENELET_ANSWER_TABLES_H

#include <stdint.h>

#define SCENELET_CLASSES {classes}

extern const uint16_t scenelet_threshold; /* in 1/32768: the lowest probability of an answer that is known */
extern const uint16_t scenelet_exponentials[{distances}]; /* by the distance from the highest logit */

#endif
"""


def answer_files(network: IntegerNetwork, confidence: Confidence) -> dict[str, str]:
    """The C files of a network's answers.

    Raises:
        UserError: its logits have 16 bits, or it has more classes than fit into the sums.
    """
    output, classes = network.output, network.output.shape[0]
    if output.bits != 8:
        raise UserError("logits of 16 bits have no answers on devices: quantize with quantize.activations=8")
    if classes > LARGEST:
        raise UserError(f"the network has {classes:,} classes, and probabilities on devices are of {LARGEST:,} at most")
    kind, values = answer_tables(network, confidence)[EXPONENTIALS]
    header = HEADER.format(classes=classes, distances=len(values))
    threshold = f"const {kind} scenelet_threshold = {confidence.least};"
    source = [f'#include "{TABLES}.h"', "", threshold, "", *table(kind, EXPONENTIALS, values)]
    return licensed(TEMPLATES, {f"{TABLES}.h": header, f"{TABLES}.c": "\n".join(source)})


def answer_tables(network: IntegerNetwork, confidence: Confidence) -> Mapping[str, Table]:
    """By where C has them."""
    output = network.output
    values = exponentials(output.scale, confidence.temperature, output.bits).tolist()
    return {"&scenelet_threshold": ("uint16_t", [confidence.least]), EXPONENTIALS: ("uint16_t", values)}
