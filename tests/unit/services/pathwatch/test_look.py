import os
from pathlib import Path

import pytest

from bus import settings as settings_file
from bus.settings import Settings
from services.pathwatch.decide import Gone, Invalid, Release, SettingsFile, Tenant, ValidRelease, ValidTenant
from services.pathwatch.look import UnclearError, look, signature

VALID = 'package = "shop"\n'


@pytest.fixture
def settings(short_dir: Path) -> Settings:
    (short_dir / "tenants" / "acme").mkdir(parents=True)
    (short_dir / "tenantbus.toml").touch()
    return settings_file.load(short_dir / "tenantbus.toml")


def test_a_tenant_and_its_stamps(settings: Settings) -> None:
    directory = settings.tenants_dir / "acme"
    (directory / "tenant.toml").write_text(VALID)
    first = look(Tenant("acme"), settings)
    assert isinstance(first, ValidTenant)
    assert first.path == str(directory)
    os.utime(directory / "tenant.toml", (1, 1))
    assert look(Tenant("acme"), settings) == first
    (directory / "secrets.env").touch(0o600)
    second = look(Tenant("acme"), settings)
    assert isinstance(second, ValidTenant)
    assert second.secrets != first.secrets
    assert second.stamp != first.stamp
    os.utime(directory / "secrets.env", (1, 1))
    third = look(Tenant("acme"), settings)
    assert isinstance(third, ValidTenant)
    assert third.secrets not in (first.secrets, second.secrets)


@pytest.mark.parametrize("subject", [Tenant("none"), Tenant("acme"), Tenant("file"), Release("shop", "1.0")])
def test_what_is_not_there(subject: Tenant | Release, settings: Settings) -> None:
    (settings.tenants_dir / "file").touch()
    assert look(subject, settings) == Gone()


def test_a_file_that_is_being_written(settings: Settings) -> None:
    file = settings.tenants_dir / "acme" / "tenant.toml"
    with file.open("w") as writer:
        writer.write(VALID)
        writer.flush()
        with pytest.raises(UnclearError, match="is being written"):
            look(Tenant("acme"), settings)
    assert isinstance(look(Tenant("acme"), settings), ValidTenant)


def test_out_of_descriptors_is_no_fault_of_the_tenant(settings: Settings) -> None:
    (settings.tenants_dir / "acme" / "tenant.toml").write_text(VALID)
    (settings.tenants_dir / "acme" / "secrets.env").touch(0o600)
    taken = []
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        with pytest.raises(UnclearError, match="Too many open files"):
            look(Tenant("acme"), settings)
    finally:
        for descriptor in taken:
            os.close(descriptor)


def test_a_release_whose_socket_would_be_too_long(settings: Settings) -> None:
    version = "1." + "0" * 90
    directory = settings.packages_dir / "shop" / version
    directory.mkdir(parents=True)
    (directory / "package.toml").write_text('entry = "app:make"\n')
    seen = look(Release("shop", version), settings)
    assert isinstance(seen, Invalid)
    assert "107 bytes" in seen.reason
    directory.rename(directory.with_name("1.0"))
    assert isinstance(look(Release("shop", "1.0"), settings), ValidRelease)


def test_settings_that_are_wrong_name_key_and_line(settings: Settings) -> None:
    Path(settings.file).write_text("[bus]\nretention_days = 0\n")
    seen = look(SettingsFile(settings.file), settings)
    assert isinstance(seen, Invalid)
    assert (seen.key, seen.line) == ("bus.retention_days", 2)


def test_a_signature_changes_with_the_files_only(settings: Settings) -> None:
    directory = settings.tenants_dir / "acme"
    files = ("tenant.toml",)
    nothing = signature(directory, files)
    (directory / "run").mkdir()
    assert signature(directory, files) == nothing
    (directory / "tenant.toml").write_text(VALID)
    written = signature(directory, files)
    assert written.value != nothing.value
    assert written.changed > 0
    assert not written.linked
    (directory / "tenant.toml").chmod(0o600)
    assert signature(directory, files).value != written.value
    (directory / "tenant.toml").rename(directory / "target")
    (directory / "tenant.toml").symlink_to("target")
    assert signature(directory, files).linked
