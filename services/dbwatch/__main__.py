"""Runs dbwatch: python -m services.dbwatch."""

from services.base import main
from services.dbwatch.service import DbWatch

main(DbWatch)
