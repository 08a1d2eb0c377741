"""Topics, subscriptions and forwarding."""

from __future__ import annotations

from devhost.service_bus.core.messages import Outcome
from devhost.service_bus.core.settings import (
    NamespaceSettings,
    QueueSettings,
    SubscriptionSettings,
    TopicSettings,
)
from devhost.service_bus.filters.correlation import correlation_filter
from devhost.service_bus.filters.sql import sql_filter
from tests.unit.service_bus_fakes import (
    SECOND,
    World,
    body_of,
    drain,
    message,
    reasons,
    receive,
    settle,
)


def topic(*subscriptions: SubscriptionSettings, **settings: object) -> TopicSettings:
    return TopicSettings(subscriptions=subscriptions, **settings)  # type: ignore[arg-type]


def test_every_subscription_whose_filter_passes_gets_its_own_copy() -> None:
    red = correlation_filter({"Label": "paint"}, {"colour": "red"})
    big = sql_filter("size > 10 AND sys.Label = 'paint'")
    world = World(
        NamespaceSettings(
            topics={
                "events": topic(
                    SubscriptionSettings("all"),
                    SubscriptionSettings("red", filters=(red,)),
                    SubscriptionSettings("red-or-big", filters=(red, big)),
                )
            }
        )
    )
    events = world.broker.target("events")
    events.send(
        [
            message("1", subject="paint", user={"colour": "red", "size": 20}),
            message("2", subject="paint", user={"colour": "blue", "size": 20}),
            message("3", subject="ink", user={"colour": "red", "size": 5}),
        ]
    )

    def taken(name: str) -> list[str | None]:
        return drain(world.broker.queue(f"events/subscriptions/{name}"))

    assert taken("all") == ["1", "2", "3"]
    assert taken("red") == ["1"]
    assert taken("red-or-big") == ["1", "2"]


def test_a_topic_drops_repeats_and_holds_scheduled_messages() -> None:
    settings = topic(SubscriptionSettings("all"), duplicate_window=60 * SECOND)
    world = World(NamespaceSettings(topics={"events": settings}))
    events, queue = world.broker.target("events"), world.broker.queue("events/subscriptions/all")

    events.send([message("1", message_id="m"), message("2", message_id="m")])
    later, cancelled = events.send(
        [message(body, scheduled_at=world.now + 5 * SECOND) for body in ("later", "never")]
    )
    events.cancel([cancelled])
    assert drain(queue) == ["1"]
    world.commit_and_restart()
    world.sleep(5)

    queue = world.broker.queue("events/subscriptions/all")
    delivery = receive(queue)
    assert body_of(delivery) == "later"
    assert delivery is not None
    assert delivery.stamp.enqueued_sequence is not None
    assert delivery.stamp.enqueued_sequence > later
    assert drain(queue) == []


def test_a_copy_without_session_id_is_dead_lettered_by_a_subscription_that_needs_one() -> None:
    needs_session = SubscriptionSettings("s", queue=QueueSettings(requires_session=True))
    world = World(NamespaceSettings(topics={"events": topic(needs_session)}))

    world.broker.target("events").send([message("1")])

    dead = receive(world.broker.queue("events/subscriptions/s/$deadletterqueue"))
    assert reasons(dead)[0] == "Session ID is null."


def test_a_forwarded_message_goes_on_at_once_and_remembers_its_first_number() -> None:
    world = World(
        NamespaceSettings(
            queues={"orders": QueueSettings(), "entry": QueueSettings(forward_to="events")},
            topics={"events": topic(SubscriptionSettings("s", QueueSettings(forward_to="orders")))},
        )
    )
    world.broker.target("events").send([message("0")])  # so that the numbers differ
    world.broker.target("entry").send([message("1"), message("2")])

    receive(world.queue)
    first, second = receive(world.queue), receive(world.queue)
    assert first is not None
    assert second is not None
    assert [first.stamp.enqueued_sequence, second.stamp.enqueued_sequence] == [1, 2]
    assert world.broker.counts("entry").active == 0


def test_forwarding_in_a_circle_ends_among_the_transfer_dead_letters() -> None:
    queues = {"a": QueueSettings(forward_to="b"), "b": QueueSettings(forward_to="a")}
    world = World(NamespaceSettings(queues=queues))

    world.broker.target("a").send([message("round")])

    dead = receive(world.broker.queue("a/$transfer/$deadletterqueue"))
    assert body_of(dead) == "round"
    assert reasons(dead)[0] == "TooManyForwards"


def test_what_the_target_refuses_ends_among_the_transfer_dead_letters() -> None:
    world = World(
        NamespaceSettings(
            queues={
                "entry": QueueSettings(forward_to="orders"),
                "orders": QueueSettings(requires_session=True),
            }
        )
    )
    world.broker.target("entry").send([message("no session")])

    dead = receive(world.broker.queue("entry/$transfer/$deadletterqueue"))
    assert body_of(dead) == "no session"
    assert reasons(dead)[0] == "OperationNotAllowed"


def test_forwarded_dead_letters_say_where_they_died() -> None:
    world = World(
        NamespaceSettings(
            queues={
                "orders": QueueSettings(forward_dead_letters_to="morgue"),
                "morgue": QueueSettings(),
            }
        )
    )
    world.queue.send([message("bad")])
    settle(world.queue, receive(world.queue), Outcome.DEAD_LETTER, "Bad", "really")

    dead = receive(world.broker.queue("morgue"))
    assert dead is not None
    assert dead.stamp.dead_letter_source == "orders"
    assert reasons(dead) == ("Bad", "really")
    assert world.broker.counts("orders").dead_lettered == 0
