"""What the lists of results are ordered by."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from shared.platform.paging import Cursors, Moment

BIGINT_MAX = 2**63 - 1
INTEGER_MAX = 2**31 - 1


ImportPosition = tuple[datetime, UUID]
RowErrorPosition = tuple[int, int]

_BigInteger = Annotated[int, Field(ge=0, le=BIGINT_MAX)]
_Integer = Annotated[int, Field(ge=0, le=INTEGER_MAX)]

import_cursors = Cursors[ImportPosition](tuple[Moment, UUID])
row_error_cursors = Cursors[RowErrorPosition](tuple[_BigInteger, _Integer])
