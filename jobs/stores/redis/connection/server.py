"""A Redis client for the store: commands, pipelines and Lua scripts, with errors that users can act on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

import redis
from redis.commands.core import Script
from redis.exceptions import NoScriptError, RedisError, ResponseError

from jobs.errors import RecordDamaged
from jobs.stores.damage import Damage, sound
from jobs.stores.redis.connection.errors import translated_errors
from jobs.stores.rules import LUA_LIMITS

Word = str | int | float | bytes
Command = tuple[Word, ...]  # ("HGET", key, field)
Call = tuple[Sequence[str], Sequence[Word]]  # a script's keys and arguments


class RedisServer:
    """One Redis server. Thread-safe. Strings in replies are bytes.

    Every method may raise `StoreUnavailable` or `StoreFull`, and `RecordDamaged` for a key of a wrong type. `damage`
    lists the damaged records that readers have skipped.
    """

    def __init__(self, client: redis.Redis) -> None:
        """Use `client`, which must not decode replies (`decode_responses=False`, the default)."""
        self.damage = Damage()
        self._client = client
        self._scripts: dict[str, Script] = {}

    def run(self, *command: Word) -> Any:  # noqa: ANN401 - its type depends on the command
        """Send one command and return its reply."""
        with translated_errors(self._client):
            try:
                return self._client.execute_command(*command)  # type: ignore[no-untyped-call]
            except ResponseError as error:
                _raise_damage(error, str(command[1]))
                raise

    def pipeline(self, commands: Iterable[Command], atomic: bool = False) -> list[Any]:
        """Send many commands together and return their replies. `atomic` makes them one transaction."""
        return [sound(reply) for reply in self.replies(commands, atomic)]

    def replies(self, commands: Iterable[Command], atomic: bool = False) -> list[Any]:
        """Send commands like `pipeline`, but return `RecordDamaged` as the reply of a damaged record.

        `sound` raises it.
        """
        sent = list(commands)
        with translated_errors(self._client), self._client.pipeline(transaction=atomic) as pipeline:
            for command in sent:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            replies = pipeline.execute(raise_on_error=False)
            return [_found_damage(reply, _key_of(command)) for command, reply in zip(sent, replies, strict=True)]

    def script(self, name: str, keys: Sequence[str], *args: Word) -> Any:  # noqa: ANN401 - depends on the script
        """Run `scripts/{name}.lua` atomically and return its reply. A string in the reply is a `str`.

        The script is sent by its hash (EVALSHA), and whole only if the server does not know it.
        """
        with translated_errors(self._client):
            try:
                return _text(self._script(name)(keys=keys, args=args))
            except ResponseError as error:
                _raise_damage(error, keys[0])
                raise

    def script_after(self, command: Command, name: str, keys: Sequence[str], *args: Word) -> Any:  # noqa: ANN401
        """Send a command and a script together, and return the reply of `script`. The command runs first."""
        digest = self._script(name).sha
        with translated_errors(self._client), self._client.pipeline(transaction=False) as pipeline:
            pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            pipeline.execute_command("EVALSHA", digest, len(keys), *keys, *args)  # type: ignore[no-untyped-call]
            first, reply = pipeline.execute(raise_on_error=False)
            sound(_found_damage(first, _key_of(command)))
            if not isinstance(reply, NoScriptError):
                return _text(sound(_found_damage(reply, keys[0])))
        return self.script(name, keys, *args)

    def scripts(self, name: str, calls: Sequence[Call]) -> list[Any]:
        """Send many calls of one script together and return their replies. Each call is atomic by itself.

        The reply of a call that finds a damaged record is `RecordDamaged`. `sound` raises it.
        """
        digest = self._script(name).sha
        with translated_errors(self._client), self._client.pipeline(transaction=False) as pipeline:
            for keys, args in calls:
                pipeline.execute_command("EVALSHA", digest, len(keys), *keys, *args)  # type: ignore[no-untyped-call]
            replies = pipeline.execute(raise_on_error=False)
            replies = [
                reply if isinstance(reply, NoScriptError) else _found_damage(reply, keys[0])
                for reply, (keys, _) in zip(replies, calls, strict=True)
            ]
        return [
            self._sent_whole(name, call) if isinstance(reply, NoScriptError) else _text(reply)
            for reply, call in zip(replies, calls, strict=True)
        ]

    def _sent_whole(self, name: str, call: Call) -> Any:  # noqa: ANN401 - depends on the script
        """Repeat a call with the whole script, for a server that does not know it. Replies are those of `scripts`."""
        keys, args = call
        try:
            return self.script(name, keys, *args)
        except RecordDamaged as error:
            return error

    def now(self) -> float:
        """Return the time of the server's clock, in seconds since the epoch."""
        seconds, microseconds = self.run("TIME")
        return int(seconds) + int(microseconds) / 1e6

    def _script(self, name: str) -> Script:
        if name in self._scripts:
            return self._scripts[name]
        folder = files("jobs.stores.redis") / "scripts"
        parts = [(folder / f"{part}.lua").read_text(encoding="utf-8") for part in ("common", name)]
        return self._scripts.setdefault(name, self._client.register_script("\n".join([_LIMITS, *parts])))


# The shared limits of every store, as the first lines of each script.
_LIMITS = "\n".join(f"local {name} = {value}" for name, value in LUA_LIMITS.items())

# Texts of the server's errors for a key of a wrong type, or for a text where a number must be.
_SIGNS_OF_DAMAGE = ("WRONGTYPE", "is not an integer", "is not a valid float", "is not a float")


def _raise_damage(error: ResponseError, key: str) -> None:
    """Raise `RecordDamaged` if the reply tells of a damaged record."""
    text = str(error)
    if any(sign in text for sign in _SIGNS_OF_DAMAGE):
        raise RecordDamaged(key, text.partition(" script: ")[0]) from error


def _key_of(command: Command) -> str:
    """Return the key of a command, or the command itself if it has none."""
    return str(command[1] if len(command) > 1 else command[0])


def _found_damage(reply: Any, key: str) -> Any:  # noqa: ANN401 - any reply but an error stays what it is
    """Turn an error reply about a damaged record into `RecordDamaged`. Raises every other error."""
    if not isinstance(reply, RedisError):
        return reply
    try:
        if isinstance(reply, ResponseError):
            _raise_damage(reply, key)
        raise reply
    except RecordDamaged as damage:
        return damage


def _text(reply: Any) -> Any:  # noqa: ANN401 - only strings change
    return reply.decode() if isinstance(reply, bytes) else reply


def scored(reply: Sequence[Any]) -> list[tuple[bytes, float]]:
    """Return members and scores of a WITHSCORES reply. It holds pairs in RESP3, and is one flat list in RESP2."""
    if reply and isinstance(reply[0], list | tuple):
        return [(member, float(score)) for member, score in reply]
    return [(member, float(score)) for member, score in zip(reply[::2], reply[1::2], strict=True)]


def newest_id(reply: Any) -> str | None:  # noqa: ANN401 - a list in the older protocol, a dictionary in the newer one
    """Return the id of the one entry that XREAD found in one stream, or None if it found nothing."""
    if not reply:
        return None
    entries = next(iter(reply.values()))[0] if isinstance(reply, dict) else reply[0][1]
    return str(entries[0][0].decode())
