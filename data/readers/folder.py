"""Any other data set: a table of sound files and their classes.

Conventions: the table is comma- or tab-separated with a header; which of its columns say what is a setting
(data/columns.py). `filename` (relative to the folder, or absolute) and `label` are required, `device`, `location` and
`split` (train, validation or val, test, unused) are not. Without locations every file is a location of its own.
"""

from pathlib import Path

from data.clip_sets import HeldOut, complete_set
from data.clip_table import read_clip_table
from data.columns import AS_NAMED, Columns
from data.errors import UserError
from data.ranges import Fold
from data.readers import Reader, Settings
from data.scenes import ClipSet
from data.whereabouts import meant_root, tables_below

TABLE = "clips.csv"


def read_folder(
    root: str | Path,
    *,
    csv: str | Path | None = None,
    columns: Columns = AS_NAMED,
    label_separator: str | None = None,
    test_fold: Fold | None = None,
    validation_fold: Fold | None = None,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.3,
    folds: int | None = None,
    fold: int | None = None,
    seed: int = 0,
    reference_device: str | None = None,
    cut: bool = False,
    clip_seconds: float = 1.0,
) -> ClipSet:
    """Read a table of clips.

    Args:
        root: folder that filenames are relative to.
        csv: the table; `root/clips.csv` by default.
        columns: which of its columns say what.
        label_separator: what stands between several classes of a clip in their column; None: a clip has one.
        test_fold, validation_fold: of a column of folds, those that are the test and the validation split.
        test_fraction: share of the clips, by location, that becomes the test split where the table gives none.
        validation_fraction, folds, fold, seed: share of the train clips, by location, that becomes the validation
            split where the table gives none; see data/splits.py.
        reference_device: whose clips may be given another device's response; by default the device with most train
            clips.
        cut: whether each file is cut into clips of `clip_seconds`, and not one clip.
        clip_seconds: length of a clip.

    Raises:
        UserError: the table is missing, lacks columns or has bad rows (all of them listed).
    """
    root = Path(root)
    path = root / TABLE if csv is None else Path(csv)
    if not path.is_file():
        found = meant_root(root, TABLE) or tables_below(root) if csv is None else ""
        raise UserError(
            f"{path} is missing: a table with the columns filename and label; name it by data.csv=FILE{found}"
        )
    clips = read_clip_table(
        path,
        root,
        columns=columns,
        label_separator=label_separator,
        test_fold=test_fold,
        validation_fold=validation_fold,
    )
    held_out = HeldOut(
        test_fraction=test_fraction, validation_fraction=validation_fraction, folds=folds, fold=fold, seed=seed
    )
    return complete_set(
        clips,
        name="folder",
        root=root,
        of=path,
        sources=(path,),
        held_out=held_out,
        reference_device=reference_device,
        cut_into=clip_seconds if cut else None,
        is_multi_label=label_separator is not None,
    )


def _default_root(cache: Path, settings: Settings) -> Path:
    """The folder of the table."""
    if (table := settings.get("csv")) is None:
        raise UserError("data=folder needs data.root=FOLDER (with clips.csv), or data.csv=FILE, or both")
    return Path(str(table)).parent


FOLDER = Reader(
    title="Folder of sound files",
    licence="that of the files",
    citation="",
    read=read_folder,
    default_root=_default_root,
    is_multi_label=lambda settings: settings.get("label_separator") is not None,
)
