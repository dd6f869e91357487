"""What the processor says of the holder of a key, results understands."""

from uuid import uuid4

from shared.contracts.duplicates import Holder, holder_in, holder_told

OWN, OTHER = uuid4(), uuid4()


def test_who_has_the_key_is_understood_as_it_is_told() -> None:
    told = {
        holder_told(7, OTHER, own=OWN): Holder(str(OTHER)),
        holder_told(7, OWN, own=OWN): Holder(None),
        holder_told(None, None, own=OWN): None,
    }
    assert len(told) == 3
    for words, holder in told.items():
        assert holder_in(f"ISBN 9783522177504 is already there: {words}") == holder
