"""The program that is the parent of one release's tenants; run as `python -I forkserver.py --help`.

It runs under the release's own interpreter and imports the standard library and tornado alone. Its parts are
loaded by path, under a name that no application has, so that nothing of ours can be imported by accident.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

NAME = "tenantbus_fork"


def load_parts() -> None:
    """Make the directory beside this file importable as NAME, without putting anything on sys.path."""
    directory = Path(__file__).resolve().parent / NAME
    spec = spec_from_file_location(
        NAME, directory / "__init__.py", submodule_search_locations=[str(directory)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {directory}")
    module = module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    load_parts()
    from tenantbus_fork.main import main  # type: ignore[import-not-found]  # only loaded by path

    main()
