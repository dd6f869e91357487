"""The SQL that loads staged records into a dataset's table, made from the dataset's declaration. Pure.

Staged records are judged as if they came one by one, in file order, so that neither the counts nor the rows depend
on where the slices were cut:

- inserted, updated: the first record of this import that changed its key's row
- unchanged: it came before that, and equals the row
- duplicate: its key was already written by this import (`overwrite`, `ignore`), or was already there (`reject`)

What a declaration cannot say is a named step beside it (`sale`, `quote`, `look-up`).
"""

from services.processor.merging.merge import Merge
from services.processor.merging.of_dataset import merge_of

__all__ = ["Merge", "merge_of"]
