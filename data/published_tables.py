"""Data sets that are published as a folder with a table of clips in folds: read as their authors lay them out."""

from dataclasses import dataclass
from pathlib import Path

from data.clip_sets import HeldOut, complete_set
from data.clip_table import read_clip_table
from data.columns import Columns
from data.errors import UserError
from data.ranges import Fold
from data.scenes import ClipSet
from data.whereabouts import meant_root


@dataclass(frozen=True, kw_only=True)
class Published:
    """A layout.

    Attributes:
        name: of the data set, as data=NAME.
        table: its table, relative to its folder.
        columns: which columns of the table say what; split is the column of folds.
    """

    name: str
    table: str
    columns: Columns

    def read(
        self, root: str | Path, *, test_fold: Fold | None, validation_fold: Fold | None, held_out: HeldOut
    ) -> ClipSet:
        """The clips of the data set.

        Args:
            root: its folder.
            test_fold: the fold that is the test split; None: 1.
            validation_fold: the fold that is the validation split; None: as `held_out` says.
            held_out: which of the other clips are held out.

        Raises:
            UserError: the table is not there, or see read_clip_table and complete_set.
        """
        root = Path(root)
        path = root / self.table
        if not path.is_file():
            found = meant_root(root, self.table) or f": let data.root be the folder of {self.name} that has it"
            raise UserError(f"{path} is missing{found}")
        clips = read_clip_table(
            path,
            root,
            columns=self.columns,
            test_fold=1 if test_fold is None else test_fold,
            validation_fold=validation_fold,
            is_published=True,
        )
        return complete_set(clips, name=self.name, root=root, of=path, sources=(path,), held_out=held_out)

    def require_root(self) -> Path:
        """Where the data set lies if data.root is not given.

        Raises:
            UserError: always: nobody knows.
        """
        raise UserError(f"data={self.name} needs data.root=FOLDER, the folder with {self.table}")
