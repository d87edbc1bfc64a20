"""python -m services.reactor."""

from services.base import main
from services.reactor.service import Reactor

if __name__ == "__main__":
    main(Reactor)
