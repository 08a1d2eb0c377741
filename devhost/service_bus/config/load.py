"""From the file to settings: syntax, fields, then what only the whole file can tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from devhost.service_bus.config.schema import ConfigFile, Namespace
from devhost.service_bus.core.settings import NamespaceSettings, QueueSettings, subscription_path

DEFAULT_CONFIG = Path(__file__).parent.parent / "config.json"
_ROOT = "UserConfig.Namespaces[0]"


class ConfigError(Exception):
    """The file is wrong: a line for each fault, with its path in the file."""


def load(path: Path = DEFAULT_CONFIG) -> NamespaceSettings:
    """The namespace that the file declares. Raises ConfigError."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    try:
        namespace = ConfigFile.model_validate_json(text).UserConfig.Namespaces[0]
    except ValidationError as error:
        faults = [_line(fault["loc"], fault["msg"]) for fault in error.errors()]
        raise _config_error(path, faults) from None
    if faults := [*_repeated_names(namespace), *_wrong_forwards(namespace)]:
        raise _config_error(path, faults)
    return NamespaceSettings(
        queues={queue.Name: queue.Properties.settings() for queue in namespace.Queues},
        topics={topic.Name: topic.settings() for topic in namespace.Topics},
    )


def _repeated_names(namespace: Namespace) -> Iterator[str]:
    seen: dict[str, str] = {}
    places = [(f"{_ROOT}.Queues[{i}]", q.Name) for i, q in enumerate(namespace.Queues)]
    for i, topic in enumerate(namespace.Topics):
        at = f"{_ROOT}.Topics[{i}]"
        places.append((at, topic.Name))
        for j, each in enumerate(topic.Subscriptions):
            places.append((f"{at}.Subscriptions[{j}]", subscription_path(topic.Name, each.Name)))
    for at, name in places:
        if (first := seen.setdefault(name.lower(), at)) != at:
            yield f"{at}.Name: {first} has this name already (names have no case)"


def _wrong_forwards(namespace: Namespace) -> Iterator[str]:
    targets = {queue.Name.lower() for queue in namespace.Queues}
    targets |= {topic.Name.lower() for topic in namespace.Topics}
    for at, settings in _receivable(namespace):
        for field, target in (
            ("ForwardTo", settings.forward_to),
            ("ForwardDeadLetteredMessagesTo", settings.forward_dead_letters_to),
        ):
            if target is not None and target.lower() not in targets:
                yield f"{at}.Properties.{field}: no queue or topic is named '{target}'"


def _receivable(namespace: Namespace) -> Iterator[tuple[str, QueueSettings]]:
    """Each queue and subscription with its place in the file."""
    for i, queue in enumerate(namespace.Queues):
        yield f"{_ROOT}.Queues[{i}]", queue.Properties.settings()
    for i, topic in enumerate(namespace.Topics):
        for j, each in enumerate(topic.Subscriptions):
            yield f"{_ROOT}.Topics[{i}].Subscriptions[{j}]", each.Properties.settings()


def _config_error(path: Path, faults: list[str]) -> ConfigError:
    return ConfigError("\n".join(f"{path}: {fault}" for fault in faults))


def _line(location: tuple[int | str, ...], message: str) -> str:
    place = ""
    for part in location:
        if part in ("Correlation", "Sql"):  # the kind of rule, which is no step in the file
            continue
        place += f"[{part}]" if isinstance(part, int) else f".{part}"
    return f"{place.lstrip('.') or 'the file'}: {message.removeprefix('Value error, ')}"
