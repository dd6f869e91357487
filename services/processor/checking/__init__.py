"""Checks records against a dataset's declaration and says all that is wrong with each. Pure."""

from services.processor.checking.checker import Checked, Checker
from services.processor.checking.dates import date_orders_of
from services.processor.checking.faults import Fault
from services.processor.checking.keys import keys_of

__all__ = ["Checked", "Checker", "Fault", "date_orders_of", "keys_of"]
