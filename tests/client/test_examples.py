"""The pipelines in the README, as they are printed there, where nothing that they need is there."""

import re
from collections.abc import Callable
from pathlib import Path

from tests.client.given import Pipeline, Receiver

README = Path(__file__).parents[2] / "README.md"
WITHOUT_NETWORK = """
import socket, sys, traceback
connect = socket.socket.connect

def refuse(self, address):
    if address[0] != "127.0.0.1":
        raise ConnectionRefusedError(111, "refused")
    return connect(self, address)

socket.socket.connect = refuse
socket.getaddrinfo = lambda host, port, *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (
    host if host == "127.0.0.1" else "192.0.2.1", port))]
for example in {examples!r}:
    try:
        exec(compile(example, "README.md", "exec"), {{"__name__": "example"}})
    except Exception:
        traceback.print_exc(file=sys.stdout)
"""


def test_the_examples_report_what_goes_wrong(receiver: Receiver, pipeline: Callable[[str], Pipeline]) -> None:
    section = README.read_text().partition("## Errors of your own pipelines")[2].partition("\n## ")[0]
    examples = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    receiver.start()

    pipeline(WITHOUT_NETWORK.format(examples=examples)).end()

    events = [[body.get(name) for name in ("stage", "supplier", "reason")] for body in receiver.bodies]
    assert events == [
        ["load_mail", "acme", "mailbox_failed"],
        ["load_ftp", "acme", "ftp_failed"],
        ["load_ftp", "mill", "ftp_failed"],
        ["consolidate", "acme", "file_not_found_error"],
    ]
