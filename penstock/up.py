"""`penstock up`: all of Penstock on this machine, with everything it needs."""

import socket
from functools import partial

from rich.console import Console

from penstock import embedded
from penstock.cluster import run_cluster
from penstock.home import Home, home_from_environment
from penstock.limits import forget_uploads
from penstock.progress import say
from penstock.registry import MIGRATIONS, NAMES, build
from penstock.serving import check_settings, observe, serve_explained
from penstock.signals import stopped_by_signals
from penstock.tokens import DEMO_TENANT, admin_token
from penstock.welcome import Options, Welcome
from shared.platform.database import migrate
from shared.platform.service import Stopping


class AddressTaken(RuntimeError):
    """Nothing can listen on the address that was asked for. Nothing was started."""


def up(options: Options) -> int:
    """Start everything, stay until told to stop, stop everything. Returns the exit code.

    Raises:
        HomeBusy, AddressTaken: somebody is there already; nothing was started.
        CannotStart: something that a service needs is away; what was started is stopped.
        LocalServerError, DatabaseBusy, DatabaseUnfit: PostgreSQL cannot be started or used.
    """
    console = Console()
    home = home_from_environment()
    exit_code = 1 if options.exit_when_done else 0
    with stopped_by_signals():
        home.make()
        with home.held():
            _require_free(options.host, options.port)
            say(console, f"Starting Penstock in {home.path} …")
            with embedded.database(home) as database_url:
                embedded.set_defaults(embedded.defaults(home, database_url))
                check_settings(NAMES)
                observe(*NAMES)
                migrate(database_url, MIGRATIONS)
                begun_before = home.token_file.exists()
                welcome = Welcome(
                    options,
                    home,
                    admin_token(home),
                    console,
                    begun_before=begun_before,
                    # The samples are ours to send: whoever uses the token has all of the tenant's uploads a minute.
                    on_imported=partial(forget_uploads, database_url, DEMO_TENANT),
                )
                with stopped_by_signals():
                    run = run_cluster if options.rabbitmq else _run_in_this_process
                    run(options, home, welcome, console)
                exit_code = welcome.exit_code
                if console.is_terminal:
                    console.show_cursor()  # a progress bar may have been cut off
                say(console, "Stopping …")
    return exit_code


def _run_in_this_process(options: Options, _: Home, welcome: Welcome, __: Console) -> None:
    stopping = Stopping()
    services = [build(name, stopping) for name in NAMES]
    serve_explained(services, stopping, host=options.host, port=options.port, on_ready=welcome.begin)


def _require_free(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        raise AddressTaken(
            f"cannot listen on {host}:{port}: {reason}. Choose another port with --port, or stop what listens there"
        ) from error
