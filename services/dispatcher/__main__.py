"""Runs the dispatcher: python -m services.dispatcher."""

from services.base import main
from services.dispatcher.service import Dispatcher

main(Dispatcher)
