"""Runs pathwatch: python -m services.pathwatch."""

from services.base import main
from services.pathwatch.service import PathWatch

main(PathWatch)
