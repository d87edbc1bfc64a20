"""Why an application cannot be imported, in one line."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.reactor.tenantbus_fork.application import BrokenError, explain, load


@pytest.fixture
def release(short_dir: Path) -> Iterator[Path]:
    before = sys.path.copy()
    yield short_dir
    sys.path[:] = before


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1\nimport no_such_module_zz", "No module named 'no_such_module_zz' ({path}:2)"),
        ("x = (\n", "SyntaxError: '(' was never closed ({path}:1)"),
        ("import sys\nsys.exit('no')", "SystemExit: no ({path}:2)"),
    ],
)
def test_the_place_in_the_application_is_named(
    release: Path, text: str, reason: str, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    name = f"broken_{abs(hash(request.node.name))}"
    file = release / f"{name}.py"
    file.write_text(text)
    with pytest.raises(BrokenError) as caught:
        load(str(release), f"{name}:make_app")
    assert str(caught.value).startswith(f"{name}:make_app cannot be imported: ")
    assert str(caught.value).endswith(reason.format(path=file))
    assert "Traceback" in capfd.readouterr().err


def test_an_error_elsewhere_has_no_place(release: Path) -> None:
    assert explain(ValueError("x"), str(release)) == "ValueError: x"
