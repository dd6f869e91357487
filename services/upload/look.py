"""One look at a file as its bytes pass, led by what the request has said of it so far. Pure."""

from collections.abc import Callable

from services.upload.fields import Asked
from services.upload.inspection import Inspection, dataset_named
from shared.contracts.error_file import LINE, line_column
from shared.contracts.problems import Problem, Unprocessable


class Look:
    """Feed it every block, then `finish`. Each raises a `Problem` as soon as the file is known to be no good.

    Args:
        asked: What the request has said so far.
        patient: Whether more may be said behind the file, so that a problem with it (`problem`) may not be the last word.
    """

    def __init__(self, asked: Asked, *, patient: bool) -> None:
        self.asked = asked
        self.problem: Problem | None = None
        self._patient = patient
        self._dataset = None if asked.dataset is None and patient else dataset_named(asked.dataset)
        self._matched = False
        self.inspection = Inspection(
            given=asked.given, dataset=self._dataset, corrects=asked.corrects is not None
        )

    def feed(self, block: bytes) -> None:
        self._go_on(lambda: self.inspection.feed(block))

    def finish(self) -> None:
        self._go_on(self.inspection.finish)

    def holds_for(self, asked: Asked) -> bool:
        """Whether a look led by all that was `asked` would have seen the same."""
        if self.problem is not None or asked.given != self.asked.given:
            return False
        if asked.corrects != self.asked.corrects:
            return False  # what such a file needs was not looked for
        if asked.dataset == self.asked.dataset:
            return True
        try:
            self.inspection.match(dataset_named(asked.dataset))
        except Problem:
            return False  # what is expected helps to find the header
        return True

    def _go_on(self, step: Callable[[], None]) -> None:
        if self.problem is not None:
            return
        try:
            step()
            if self._dataset and not self._matched and self.inspection.dialect is not None:
                self._matched = True
                self.inspection.match(self._dataset)
                self._check_lines()
        except Problem as problem:
            if not self._patient:
                raise
            self.problem = problem

    def _check_lines(self) -> None:
        if self.asked.corrects is not None and line_column(self.inspection.header) is None:
            raise Unprocessable(
                "corrects_without_lines",
                f"the header has no column `{LINE}`, so nothing says which row errors the records correct",
                hint="download the import's errors.csv, correct the records in it, and send it with all of its columns; to"
                " import this file as it is, leave `corrects` out",
            )
