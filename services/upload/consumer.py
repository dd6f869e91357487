"""What upload hears: its own command to check a resumable upload that has all its bytes."""

from services.upload.tus.finish import Finisher
from shared.contracts.topology import UPLOAD_FINISH
from shared.platform.bus import Subscription


def subscription(finisher: Finisher) -> Subscription:
    """The upload service's consumer."""
    # To check a file is no single transaction: it holds by a lease, and by its last one.
    return Subscription(
        UPLOAD_FINISH, handlers={"upload.finish": finisher.finish}, on_exhausted=finisher.give_up
    )
