"""A keeper of logs and nothing else, to be killed: log_keeper.py SETTINGS_FILE [punch]."""

import asyncio
import logging
import sys
from pathlib import Path

from bus.settings import load
from services.reactor import log_plan, logs

logging.basicConfig(level=logging.INFO, stream=sys.stderr)
logs.FIRST = 0.0
logs.SWEEP = log_plan.HOT = 0.02
logs.MARK_EVERY = 0.1
asyncio.run(logs.LogKeeper(load(Path(sys.argv[1])), collapse="punch" not in sys.argv).run())
