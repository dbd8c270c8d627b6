"""What is said of a TFLite file whose content cannot be."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import UserError

AGAIN = "copy the file again, or quantise the student again"


class WrongValueError(Exception):
    """What a file says, and why it cannot be."""


@contextmanager
def explain_damage(path: str | Path, remedy: str = AGAIN) -> Iterator[None]:
    """Turn any exception of code that reads a file's content into a UserError that names the file and the remedy."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except WrongValueError as error:
        raise UserError(f"{path}: {error}; {remedy}") from None
    except Exception as error:  # flatbuffers raises whatever a wrong offset leads to
        text = str(error) or type(error).__name__
        raise UserError(f"{path} is damaged, or not of this kind ({text}): {remedy}") from error
