"""The development gateway in front of services that run already: `upload=http://127.0.0.1:8001 … PORT`."""

import sys
from contextlib import nullcontext

from penstock.gateway import gateway
from shared.platform.process import Server, server_config
from shared.platform.service import Stopping
from shared.platform.settings import ProcessSettings

*services, port = sys.argv[1:]
app = gateway(dict(service.split("=", 1) for service in services), nullcontext)
Server(server_config(app, ProcessSettings(), host="127.0.0.1", port=int(port)), Stopping()).run()
