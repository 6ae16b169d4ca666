"""`KafkaTopic`: the partitions of a Kafka topic, merged into one order and read by offsets."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ladle.core.errors import ArgumentError, DataError, must
from ladle.feed.stream.clients import check_since, dropped, kept, needs, until

ANSWER_SECONDS = 30.0
"""How long a broker may take to send messages that it says it has."""

AHEAD = 10_000
"""Messages of one partition that are kept while another one is waited for."""


@dataclass(frozen=True)
class KafkaTopic:
    """The messages of a Kafka topic; implements `ladle.core.protocols.Stream`.

    - `servers`: `host:port,...` of some brokers. `topic`, `partitions`: what to read; all partitions by default.
    - `since`: a run starts with the "first" message on the log, or with what is added from "now" on.
    - `options`: further settings of librdkafka (`security.protocol`, `sasl.username`, ...).
    - `timeout_seconds`: how long brokers may take to answer a question about the topic.

    An event is the message's value, as bytes. The position is the next offset of every partition. Partitions are
    assigned, not shared out by a consumer group, and nothing is ever committed to the server.

    Partitions take turns: the next one is number `sum(offsets) % partitions`, a function of the position. One that has
    no message at that moment is passed over. So the order of events that are all there is reproducible for any batch
    sizes; where a partition was empty and then was not, another reading may merge in another order. Within a partition
    the order is always the log's, and in every order each message comes exactly once.

    Raises `DataError` where no broker answers, for an unknown topic or partition, and where an offset is no longer, or
    not yet, on the log. Messages that compaction removed, or that a transaction took back, are not events.

    Source: librdkafka's CONFIGURATION.md; that watermarks end at the last committed transaction: its pull request 3428.
    """

    servers: str
    topic: str
    partitions: Sequence[int] | None = None
    since: Literal["first", "now"] = "first"
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    timeout_seconds: float = 10.0

    def __post_init__(self) -> None:
        check_since(self.since)
        if self.partitions is not None and not len(self.partitions):
            raise ArgumentError(must("partitions", "not be empty", self.partitions, "nothing would be read", "None"))

    def start(self) -> dict[str, int]:
        with self._reading() as reader:
            bounds = {partition: reader.bounds(partition) for partition in self._partitions(reader)}
        return {str(partition): high if self.since == "now" else low for partition, (low, high) in bounds.items()}

    def read(
        self, position: dict[str, int], count: int, wait_seconds: float
    ) -> tuple[list[bytes | None], dict[str, int]]:
        offsets = _checked(position)
        with self._reading() as reader:
            # A new process takes up partitions that were added since: all their messages come after the position.
            if not reader.next or set(reader.next) - set(offsets):
                offsets = {**dict.fromkeys(self._partitions(reader, offsets), 0), **offsets}
            if reader.next != offsets and not reader.undo(offsets):
                self._check_bounds(reader, offsets)
                reader.seat(offsets)
            events = reader.take(count, until(wait_seconds))
            return events, {str(partition): offset for partition, offset in sorted(reader.next.items())}

    def _reading(self) -> _Reading:
        return _Reading(self, kept(self._key, self._open))

    @property
    def _key(self) -> tuple[Any, ...]:
        return "kafka", self.servers, self.topic, tuple(sorted(self.options.items()))

    def _open(self) -> _Reader:
        kafka = _library()
        settings = {
            "group.id": "ladle",  # librdkafka asks for one; assigned partitions have no use for it.
            "fetch.wait.max.ms": 50,
            "queued.max.messages.kbytes": 16_384,  # Fetched ahead, of each partition at most.
            "log_level": 2,  # What goes wrong is raised.
            **self.options,
            "bootstrap.servers": self.servers,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
        }
        try:
            return _Reader(kafka, kafka.Consumer(settings), kafka.Consumer(settings), self.topic, self.timeout_seconds)
        except kafka.KafkaException as error:
            be, why = "be settings of librdkafka", error.args[0].str()
            raise ArgumentError(must("options", be, sorted(self.options), why, "options={}")) from None

    def _partitions(self, reader: _Reader, known: Mapping[int, int] | None = None) -> list[int]:
        there = reader.partitions()
        asked = there if self.partitions is None else list(self.partitions)
        missing = sorted(({*asked} | {*(known or {})}) - {*there})
        if missing:
            got, why = f"{missing}, not there", "each is read to its end"
            raise DataError(must("partitions", f"be among the topic's {there}", got, why, "the topic the run began on"))
        return sorted(asked)

    def _check_bounds(self, reader: _Reader, offsets: Mapping[int, int]) -> None:
        for partition, offset in sorted(offsets.items()):
            low, high = reader.bounds(partition)
            if not low <= offset <= high:
                raise _off_the_log(self.topic, partition, offset, f"{low} to {high}")


@dataclass(frozen=True)
class _Reading:
    """One thread at a time at the reader; errors of the library become ours."""

    topic: KafkaTopic
    reader: _Reader

    def __enter__(self) -> _Reader:
        self.reader.lock.acquire()
        return self.reader

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.reader.lock.release()
        if error is None:
            return
        dropped(self.topic._key)
        if isinstance(error, self.reader.kafka.KafkaException):
            why, remedy = f"reading failed: {error.args[0].str()}", "servers='localhost:9092'"
            raise DataError(must("servers", "be Kafka brokers that answer", self.topic.servers, why, remedy)) from None


@dataclass(eq=False)
class _Reader:
    """A consumer and what it has fetched, from offsets `next` on: for any other position it is seated anew."""

    kafka: Any
    consumer: Any
    asker: Any
    """Asks about the topic on its own connections: a broker answers one by one, and a fetch waits for messages."""
    topic: str
    timeout_seconds: float
    lock: Any = field(default_factory=threading.RLock)
    next: dict[int, int] = field(default_factory=dict)
    fetched: dict[int, deque[Any]] = field(default_factory=dict)
    taken: deque[Any] = field(default_factory=deque)
    """What was handed out last, with the partition and its `next` before that: a batch may be drawn twice."""
    ended: dict[int, int] = field(default_factory=dict)
    """Offset at which a partition was seen to have no more messages."""
    paused: set[int] = field(default_factory=set)

    def close(self) -> None:
        self.consumer.close()
        self.asker.close()

    def partitions(self) -> list[int]:
        found = self.asker.list_topics(self.topic, timeout=self.timeout_seconds).topics[self.topic]
        if found.error is not None:
            why, remedy = found.error.str(), "the name of a topic that was created"
            raise DataError(must("topic", "be one of the server's", self.topic, why, remedy))
        return sorted(found.partitions)

    def bounds(self, partition: int) -> tuple[int, int]:
        """First offset on the log, and the one after the last."""
        asked = self.kafka.TopicPartition(self.topic, partition)
        found = self.asker.get_watermark_offsets(asked, timeout=self.timeout_seconds)
        if found is None:
            raise self.kafka.KafkaException(self.kafka.KafkaError(self.kafka.KafkaError._TIMED_OUT))
        return found

    def seat(self, offsets: Mapping[int, int]) -> None:
        parts = [self.kafka.TopicPartition(self.topic, partition, offset) for partition, offset in offsets.items()]
        if not self.next:  # A consumer that knows the topic assigns at once; otherwise it learns of it in a second.
            self.consumer.list_topics(self.topic, timeout=self.timeout_seconds)
        self.consumer.assign(parts)
        self.next, self.ended, self.paused = dict(sorted(offsets.items())), {}, set()
        self.fetched = {partition: deque() for partition in self.next}
        self.taken.clear()

    def undo(self, offsets: Mapping[int, int]) -> bool:
        """Take back what was handed out after `offsets`, where that is still known."""
        while self.taken and self.next != offsets:
            partition, before, message = self.taken.pop()
            self.fetched[partition].appendleft(message)
            self.next[partition] = before
        return self.next == offsets

    def take(self, count: int, left: Callable[[], float]) -> list[bytes | None]:
        """The next messages, partition by partition in turn; waits for more only where no partition has any."""
        events: list[bytes | None] = []
        # Asked once, so that partitions that are written to meanwhile cannot hold the others up.
        high: dict[int, int] = {}
        while len(events) < count:
            partition = self._turn(high)
            if partition is not None:
                offset, value = message = self.fetched[partition].popleft()
                self.taken.append((partition, self.next[partition], message))
                self.next[partition] = offset + 1
                events.append(value)
            elif left() <= 0:
                break
            else:
                self._fetch(min(left(), 1.0))
                high = {}
        while len(self.taken) > 2 * count:
            self.taken.popleft()
        return events

    def _turn(self, high: dict[int, int]) -> int | None:
        """Which partition gives the next message; None where none has any."""
        partitions = list(self.next)
        first = sum(self.next.values())
        for step in range(len(partitions)):
            partition = partitions[(first + step) % len(partitions)]
            if self._has(partition, high):
                return partition
        return None

    def _has(self, partition: int, high: dict[int, int]) -> bool:
        """Whether the partition has a message after its offset. Fetches it where the log says there is one."""
        if self.fetched[partition]:
            return True
        if partition not in high:
            high[partition] = self.bounds(partition)[1]
        self._resume(partition)
        patience = until(ANSWER_SECONDS)
        # A log may end in marks of transactions, which are no messages: then the end is seen, not a message.
        while max(self.next[partition], self.ended.get(partition, 0)) < high[partition]:
            self._fetch(1.0)
            if self.fetched[partition]:
                return True
            if patience() < 0:
                raise self.kafka.KafkaException(self.kafka.KafkaError(self.kafka.KafkaError._TIMED_OUT))
        return False

    def _fetch(self, seconds: float) -> None:
        """Take in what has arrived, waiting for the first message only."""
        message = self.consumer.poll(seconds)
        for item in [message, *self.consumer.consume(500, 0)] if message is not None else []:
            partition, offset = item.partition(), item.offset()
            if item.error() is None:
                self._keep(partition, offset, item.value())
            elif item.error().code() == self.kafka.KafkaError._PARTITION_EOF:
                self.ended[partition] = offset
            elif item.error().code() == self.kafka.KafkaError._AUTO_OFFSET_RESET:
                raise _off_the_log(self.topic, partition, self.next[partition], "other offsets")
            elif item.error().fatal() or not item.error().retriable():
                raise self.kafka.KafkaException(item.error())

    def _keep(self, partition: int, offset: int, value: bytes | None) -> None:
        fetched = self.fetched[partition]
        if offset < (fetched[-1][0] + 1 if fetched else self.next[partition]):
            return
        fetched.append((offset, value))
        if len(fetched) >= AHEAD and partition not in self.paused:
            self.consumer.pause([self.kafka.TopicPartition(self.topic, partition)])
            self.paused.add(partition)

    def _resume(self, partition: int) -> None:
        if partition in self.paused:
            self.consumer.resume([self.kafka.TopicPartition(self.topic, partition)])
            self.paused.discard(partition)


def _library() -> Any:
    try:
        import confluent_kafka
    except ImportError:
        raise needs("confluent-kafka", "KafkaTopic", "kafka") from None
    return confluent_kafka


def _off_the_log(topic: str, partition: int, offset: int, there: str) -> DataError:
    why = "messages were removed before they were read (it fell off the log), or the topic was made anew"
    got = f"offset {offset} of partition {partition} of {topic}"
    remedy = "longer retention, and a run from the start of this log"
    return DataError(must("position", f"be on the log ({there})", got, why, remedy))


def _checked(position: Any) -> dict[int, int]:
    try:
        offsets = {int(partition): int(offset) for partition, offset in position.items()}
        if offsets and min(offsets.values()) >= 0:
            return offsets
    except (TypeError, ValueError, AttributeError):
        pass
    be, why = "hold the next offset of each partition", "it is where reading goes on"
    raise DataError(must("position", be, position, why, "the cursor of this feed"))
