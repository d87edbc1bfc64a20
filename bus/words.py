"""The words that events share: a field of such a type means the same wherever it stands. See `bus.events`."""

from typing import Annotated

from msgspec import Meta

TenantName = Annotated[str, Meta(description="The tenant's name, which is that of its directory.")]
DatabaseName = Annotated[str, Meta(description="The database's name in tenantbus.toml.")]
ReleaseName = Annotated[str, Meta(description="app-version.")]
Directory = Annotated[str, Meta(description="Path of its directory.")]
File = Annotated[str, Meta(description="Path of the file that this is about.")]
Key = Annotated[str, Meta(description='Dotted key that is wrong in the file; "" when it is no single one.')]
Line = Annotated[int, Meta(description="Counted from 1; 0 when the reason concerns the whole file.")]
Reason = Annotated[str, Meta(description="Why, in words for people.")]
Stamp = Annotated[str, Meta(description="Changes whenever the file does; tells nothing about its content.")]
Pid = Annotated[int, Meta(description="Process id; 0 when there is no process.")]
Port = Annotated[int, Meta(description="Loopback TCP port; 0 when there is none.")]
Failures = Annotated[int, Meta(description="How many failures count against it, the last one included.")]
Pause = Annotated[float, Meta(description="Seconds until the next try.")]
Started = Annotated[int, Meta(description="When the kernel started the process, in clock ticks since boot.")]
Asker = Annotated[str, Meta(description='Who asked: user@host; "" when nobody did.')]
AppName = Annotated[str, Meta(description="The application's name, which is that of its directory.")]
Version = Annotated[str, Meta(description="Sorted as PEP 440 says; the name of the release's directory.")]
ServiceName = Annotated[str, Meta(description="broker, pathwatch, dbwatch, dispatcher or reactor.")]

TypeName = Annotated[str, Meta(description="What happened: one of the names below.")]
Subject = Annotated[str, Meta(description="To whom or what: the value of the field that the type names.")]
Node = Annotated[str, Meta(description="Host name of the machine that said it.")]
Source = Annotated[str, Meta(description='Who said it: a service, "command" or "up".')]

DELETED = "deleted"
"""The reason of PROC_STOPPED when the tenant was removed: there may be another one of that name by now."""
ALL_STOP = "tenantbus is being stopped"
"""The reason of PROC_STOPPED when everything was stopped: the next reactor thinks otherwise."""
