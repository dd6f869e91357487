"""All four services in one process on the embedded transport, as `penstock up` runs them, on a given database."""

import sys

from penstock.registry import NAMES, build
from shared.platform import logs
from shared.platform.process import serve
from shared.platform.service import Stopping

logs.configure(level="info", style="json")
stopping = Stopping()
serve([build(name, stopping) for name in NAMES], stopping, host="127.0.0.1", port=int(sys.argv[1]))
