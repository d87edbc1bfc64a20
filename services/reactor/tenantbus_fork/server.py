"""The fork server: forks tenants on request, reaps them, and tells the reactor, now or when it is back."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import socket
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

from . import kernel, mailbox, notify, page, wire
from .child import Birth
from .kept import Kept, from_packet, in_packets
from .ward import Ward

LONELY = 60.0
"""Seconds without a reactor and without tenants after which a fork server ends."""

GOODBYE = 5.0
"""Seconds that the reactor has to hang up on a fork server that cannot work."""

PATIENCE = 64
"""Datagrams of tenants in a row, after which somebody else has a turn."""

WATCHDOG_MAX = 2**53
"""Microseconds between two heartbeats, at most: systemd's "infinity" has no room on the page."""

Message = dict[str, Any]


class ForkServer:
    """One release's parent of its tenants. `serve` comes back twice: in each child, and at the end."""

    def __init__(self, about: Message, listener: socket.socket, notified: str) -> None:
        self._about = about
        """What `hello` is answered with."""
        self._listener = listener
        self._notified = notified
        self._notify = _high(notify.listen(notified))
        self._peer: socket.socket | None = None
        self._outbox: wire.Outbox
        self._wards: dict[str, list[Ward]] = {}
        """Of each tenant: the process that serves, the one that comes or goes, or the last that ended."""
        self._kept: dict[str, Kept] = {}
        """Of each tenant that sleeps, copies of its sockets for the reactor to come."""
        self._by_pid: dict[int, Ward] = {}
        self._born: Birth | None = None
        self._ending = self._retired = False
        self._wake, wake_up = socket.socketpair()
        self._wake, self._wake_up = _high(self._wake), _high(wake_up)
        self._selector = selectors.PollSelector()  # which, unlike epoll, needs no descriptor
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._notify, selectors.EVENT_READ, self._hear_tenants)
        self._selector.register(self._wake, selectors.EVENT_READ, self._reap)

    def serve(self) -> Birth | None:
        """Work until told to quit (None), or until this is a new tenant's process (what it was born for)."""
        signal.set_wakeup_fd(self._wake_up.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _notice)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while not self._ending:
            idle = not self._peer and not self._by_pid
            if idle and not self._can_be_found():
                break
            lonely = idle and not self._kept
            ready = self._selector.select(LONELY if lonely else None)
            if not ready and lonely:
                break
            for key, events in ready:
                handle: Callable[[int], None] = key.data
                handle(events)
                if self._born:
                    return self._born
            if self._retired and not self._by_pid and self._peer:  # who holds the sockets, too
                self._ending = True
        say("ends")
        return None

    def give_up(self, reason: str) -> None:
        """Tell the reactor that this release cannot run, and wait a while for it to hang up."""
        say(reason)
        self._about["broken"] = reason
        if not self._selector.select(LONELY):
            return
        self._accept(0)
        if self._peer:
            self._peer.settimeout(GOODBYE)
            with contextlib.suppress(OSError):
                while wire.receive(self._peer):
                    pass

    def begin_again(self, command: list[str], listener_at: int) -> None:
        """Become another program on the same control socket; never returns."""
        os.dup2(self._listener.fileno(), listener_at)
        os.execv(command[0], command)  # noqa: S606  # a fork server that imports no application

    # ------------------------------------------------------------ the reactor

    def _accept(self, _: int) -> None:
        self._talk(selectors.EVENT_READ)  # the last words of the connection that this one replaces
        if self._born:
            return
        peer, _address = self._listener.accept()
        peer.setblocking(False)
        self._part()
        self._peer = _high(peer)
        self._outbox = wire.Outbox(self._peer)
        self._selector.register(self._peer, selectors.EVENT_READ, self._talk)
        self._say(say="hello", **self._about)
        for ward in chain.from_iterable(self._wards.values()):
            self._say(ward.sockets, say="have", **ward.described())
        for sockets, kept in in_packets(self._kept.values()):
            self._say(sockets, say="kept", kept=kept)
        self._say(say="all")

    def _part(self) -> None:
        if self._peer:
            self._selector.unregister(self._peer)
            self._peer.close()
            self._outbox.close()
            self._peer = None

    def _talk(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush()
        while self._peer and not self._born:
            try:
                received = wire.receive(self._peer)
            except BlockingIOError:
                return
            except OSError:
                received = None
            if received is None:
                self._part()
                return
            self._obey(*received)

    def _obey(self, message: Message, descriptors: list[int]) -> None:
        descriptors = [kernel.keep_high(descriptor) for descriptor in descriptors]
        verb = message.pop("ask")
        if verb == "spawn":
            self._spawn(message, descriptors)
        elif verb == "switch":
            self._switch(message, descriptors)
        elif verb == "served":
            self._became_ready(message)
        elif verb == "heard":
            self._forget_exit(message)
        elif verb == "keep":
            for kept in from_packet(descriptors, message["kept"]):
                self._let_go_of(kept.tenant)
                self._kept[kept.tenant] = kept
        elif verb == "drop":
            self._let_go_of(message["tenant"])
            self._clear(message["tenant"])
        elif verb == "retire":
            self._retired, self._about["socket"] = True, message["socket"]
        elif verb == "quit":
            self._ending = True
        else:
            say(f"does not understand {verb!r}")

    def _say(self, descriptors: list[int] | None = None, **message: Any) -> None:
        if not self._peer:
            return
        try:
            self._outbox.send(message, descriptors or ())
        except OSError:
            self._part()
        else:
            self._expect()

    def _flush(self) -> None:
        try:
            self._outbox.flush()
        except OSError:
            self._part()
        else:
            self._expect()

    def _expect(self) -> None:
        """Wait for the reactor to take more, if there is more."""
        if not self._peer:
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outbox else 0)
        if events != self._selector.get_key(self._peer).events:
            self._selector.modify(self._peer, events, self._talk)

    # ------------------------------------------------------------ tenants

    def _spawn(self, order: Message, descriptors: list[int]) -> None:
        tenant = order["tenant"]
        running = [ward.pid for ward in self._wards.get(tenant, ()) if ward.pid]
        command = order["command"]
        if any(pid != order["beside"] for pid in running):
            self._refuse(tenant, descriptors, f"it still runs as pid {running}", never=False)
        elif command and not shutil.which(command[0], path=order["search"] or os.environ.get("PATH")):
            self._refuse(tenant, descriptors, f"command: {command[0]}: no such program", never=True)
        else:
            self._clear(tenant)
            order["notify"] = self._notified
            self._fork(order, *descriptors)

    def _refuse(self, tenant: str, descriptors: list[int], reason: str, *, never: bool) -> None:
        for descriptor in descriptors:
            os.close(descriptor)
        self._say(say="failed", tenant=tenant, reason=reason, never=never)

    def _fork(self, order: Message, score: int, private: int, *sockets: int) -> None:
        may_go, go = os.pipe()
        lent = None
        try:
            lent = page.lend(score)
            pid = os.fork()
        except OSError as error:
            if lent:
                lent.take_back()
            os.close(may_go)
            os.close(go)
            self._refuse(order["tenant"], [score, private, *sockets], f"fork: {error.strerror}", never=False)
            return
        if pid == 0:
            os.close(go)
            self._let_go()
            self._born = Birth(order, list(sockets), score, lent.numbers, private, may_go)
            return
        lent.take_back()
        os.close(may_go)
        os.close(private)
        ward = Ward(order, score, list(sockets), pid)
        self._by_pid[pid] = ward
        self._wards.setdefault(ward.tenant, []).append(ward)
        page.begin(score, pid, ward.started)
        self._write_down(ward)
        self._say(say="spawned", **ward.identity())
        with contextlib.suppress(BrokenPipeError):  # it was killed before it began
            os.write(go, b"!")  # what runs has been written down and told: nobody runs unknown
        os.close(go)

    def _write_down(self, ward: Ward) -> None:
        try:
            ward.write_down(self._about["boot"])
        except OSError as error:  # a full disk is no reason to leave a customer without service
            say(f"{ward.file}: {error.strerror}")

    def _let_go(self) -> None:
        """In a child: nothing of the fork server's may be closed, or called, by accident later."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for ours in (self._listener, self._notify, self._wake, self._wake_up, self._peer):
            if ours:
                ours.detach()

    def _switch(self, message: Message, descriptors: list[int]) -> None:
        """Pass on, unread, where a tenant's next database is."""
        ward = self._by_pid.get(message["pid"])
        if ward:  # the end of one that is gone has been told
            ward.told = message["database"]
            try:
                mailbox.tell(self._notify, ward.mailbox, ward.told, descriptors[0])
            except OSError as error:
                reason = f"it cannot be told: {error.strerror}"
                self._say(say="not switched", **ward.identity(), reason=reason)
        for descriptor in descriptors:
            os.close(descriptor)

    def _became_ready(self, message: Message) -> None:
        ward = self._by_pid.get(message["pid"])
        if ward and not ward.ready:
            ward.ready = True
            page.put(ward.score, ready_at=page.now())

    def _forget_exit(self, message: Message) -> None:
        wards = self._wards.get(message["tenant"], [])
        for ward in wards:
            if ward.exit and ward.exit["pid"] == message["pid"]:
                ward.exit = None
        if any(ward.pid for ward in wards):  # who keeps the sockets, too
            self._clear(message["tenant"], unheard=False)

    def _let_go_of(self, tenant: str) -> None:
        kept = self._kept.pop(tenant, None)
        for descriptor in kept.sockets if kept else ():
            os.close(descriptor)

    def _clear(self, tenant: str, *, unheard: bool = True) -> None:
        """Forget those of a tenant's processes that have ended."""
        wards = self._wards.pop(tenant, [])
        kept = [ward for ward in wards if ward.pid or (ward.exit and not unheard)]
        for ward in wards:
            if ward not in kept:
                ward.close()
        if kept:
            self._wards[tenant] = kept

    # ------------------------------------------------------------ what becomes of them

    def _reap(self, _: int) -> None:
        try:
            while self._wake.recv(4096):
                pass
        except BlockingIOError:
            pass
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WSTOPPED | os.WCONTINUED | os.WNOHANG)
            except ChildProcessError:
                return
            if found is None:
                return
            ward = self._by_pid.get(found.si_pid)
            if ward:
                self._changed(ward, found.si_code, found.si_status)

    def _changed(self, ward: Ward, code: int, status: int) -> None:
        if code == os.CLD_STOPPED:
            page.put(ward.score, stopped_since=page.now())
        elif code == os.CLD_CONTINUED:
            page.put(ward.score, stopped_since=0)
        elif code in {os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED}:
            page.put(ward.score, exited_at=page.now(), stopped_since=0)
            del self._by_pid[ward.pid]
            self._say(say="ended", **ward.end(code, status))

    def _hear_tenants(self, _: int) -> None:
        for _turn in range(PATIENCE):
            try:
                pid, said, address = notify.receive(self._notify)
            except BlockingIOError:
                return
            ward = self._ancestor(pid)
            if ward:
                if ward.pid == pid and mailbox.SUBSCRIBED in said:
                    ward.mailbox = address
                self._note(ward, said)

    def _ancestor(self, pid: int) -> Ward | None:
        """Find the tenant that a process belongs to; a sender that has ended already belongs to nobody."""
        while pid > 1:
            ward = self._by_pid.get(pid)
            if ward:
                return ward
            pid = kernel.parent(pid)
        return None

    def _note(self, ward: Ward, said: dict[str, str]) -> None:
        if said.get("READY") == "1" and not ward.ready:
            self._became_ready({"pid": ward.pid})
            self._say(say="ready", **ward.identity(), switches=ward.mailbox is not None)
        if ward.told and said.get(mailbox.SWITCHED) == ward.told:
            ward.facts["database"] = ward.told
            self._write_down(ward)
            self._say(say="switched", **ward.identity(), database=ward.told)
        if mailbox.NOT_SWITCHED in said:
            reason = f"it raised {said.get(mailbox.REASON)}, see its log"
            self._say(say="not switched", **ward.identity(), reason=reason)
        every = said.get("WATCHDOG_USEC", "")
        if every.isascii() and every.isdigit():  # "\u00b2" is a digit, too, and no number
            ward.watchdog = min(int(every), WATCHDOG_MAX)
        if said.get("WATCHDOG") == "1":
            page.put(ward.score, beat_at=page.now(), beat_every=1000 * ward.watchdog)
        if said.get("STOPPING") == "1":
            page.put(ward.score, stopping_at=page.now())

    def close(self) -> None:
        """Remove our control socket, while it is still ours."""
        if self._can_be_found():
            Path(self._about["socket"]).unlink()

    def _can_be_found(self) -> bool:
        """Tell whether the next reactor would find us: somebody may have removed our control socket."""
        control = Path(self._about["socket"])
        return control.exists() and control.stat().st_ino == self._about["inode"]


def say(text: str) -> None:
    """Write a line to our log, where the disk has room for it: tenants need us, not the line."""
    line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} fork server {os.getpid()}: {text}\n"
    with contextlib.suppress(OSError):
        os.write(2, line.encode(errors="replace"))


def _notice(*_: object) -> None:
    """The wake-up descriptor is what counts; without a handler there would be none."""


def _high(ours: socket.socket) -> socket.socket:
    moved = socket.socket(fileno=kernel.keep_high(ours.detach()))
    moved.setblocking(False)
    return moved
