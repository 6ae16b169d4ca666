"""A Kafka topic, through librdkafka's mock cluster: the merge of partitions, and offsets that are not on the log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from tests.servers import free_port, kafka_server

from ladle.core.errors import ArgumentError, DataError
from ladle.feed.stream.clients import close_clients
from ladle.feed.stream.kafka_log import KafkaTopic


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, Any]]:
    with kafka_server() as cluster:
        yield cluster
        close_clients()


def fill(producer: Any, topic: str, counts: dict[int, int]) -> None:
    for partition, count in counts.items():
        for number in range(count):
            producer.produce(topic, f"{partition}.{number}", partition=partition)
    assert producer.flush(10) == 0


def read(stream: KafkaTopic, position: Any, count: int = 100) -> list[str]:
    return [value.decode() for value in stream.read(position, count, 0)[0] if value]


def test_partitions_take_turns_and_empty_ones_are_passed_over(cluster):
    servers, producer = cluster
    fill(producer, "turns", {0: 3, 1: 1, 3: 2})
    stream = KafkaTopic(servers, "turns")
    assert read(stream, stream.start()) == ["0.0", "1.0", "3.0", "3.1", "0.1", "0.2"]


def test_only_the_partitions_that_were_asked_for(cluster):
    servers, producer = cluster
    fill(producer, "some", {0: 2, 1: 2, 2: 2})
    stream = KafkaTopic(servers, "some", partitions=[2, 0])
    assert stream.start() == {"0": 0, "2": 0}
    assert read(stream, stream.start()) == ["0.0", "2.0", "0.1", "2.1"]


def test_since_now_leaves_out_what_is_there(cluster):
    servers, producer = cluster
    fill(producer, "now", {0: 2, 1: 1})
    stream = KafkaTopic(servers, "now", since="now")
    start = stream.start()
    assert start == {"0": 2, "1": 1, "2": 0, "3": 0}
    producer.produce("now", "new", partition=1)
    producer.flush(10)
    assert read(stream, start) == ["new"]


def test_a_partition_that_the_position_does_not_know_is_read_from_its_first_message(cluster):
    servers, producer = cluster
    fill(producer, "grown", {0: 2, 1: 2, 2: 2, 3: 2})
    assert sorted(read(KafkaTopic(servers, "grown"), {"0": 2, "1": 1})) == ["1.1", "2.0", "2.1", "3.0", "3.1"]


def test_nothing_is_committed(cluster):
    servers, producer = cluster
    fill(producer, "calm", {0: 5})
    stream = KafkaTopic(servers, "calm")
    stream.read(stream.start(), 5, 0)
    close_clients()
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "ladle"})
    (found,) = consumer.committed([TopicPartition("calm", 0)], timeout=10)
    consumer.close()
    assert found.offset < 0


def test_offsets_that_are_not_on_the_log_are_found(cluster):
    servers, producer = cluster
    stream = KafkaTopic(servers, "short")
    for _ in range(1600):  # The mock cluster keeps 5 MB of a partition.
        producer.produce("short", b"x" * 4096, partition=0)
        producer.poll(0)
    assert producer.flush(20) == 0
    first = stream.start()["0"]
    assert first > 0
    assert len(stream.read(stream.start(), 3, 0)[0]) == 3
    with pytest.raises(
        DataError, match=rf"position must be on the log \({first} to 1600\); got 'offset 0 of .*fell off"
    ):
        stream.read({"0": 0, "1": 0, "2": 0, "3": 0}, 1, 0)
    with pytest.raises(DataError, match="position must be on the log .*'offset 1601 of partition 0 of short'"):
        stream.read({"0": 1601, "1": 0, "2": 0, "3": 0}, 1, 0)


def test_a_slow_partition_does_not_fill_the_memory_with_the_others(cluster, monkeypatch):
    """More messages than are kept ahead: the partition is paused, resumed, and loses nothing."""
    servers, producer = cluster
    monkeypatch.setattr("ladle.feed.stream.kafka_log.AHEAD", 50)
    fill(producer, "wide", {0: 3000, 1: 2000})
    stream = KafkaTopic(servers, "wide")
    position, seen = stream.start(), []
    while found := stream.read(position, 700, 0):
        if not found[0]:
            break
        seen += [value.decode() for value in found[0] if value]
        position = found[1]
    assert len(seen) == len(set(seen)) == 5000
    for partition in "01":
        numbers = [int(name[2:]) for name in seen if name[0] == partition]
        assert numbers == sorted(numbers)


def test_an_unknown_topic_or_partition_is_refused(cluster):
    servers, producer = cluster
    with pytest.raises(DataError, match="topic must be one of the server's; got 'nowhere'; because .*Unknown topic"):
        KafkaTopic(servers, "nowhere").start()
    fill(producer, "known", {0: 1})
    with pytest.raises(DataError, match=r"partitions must be among the topic's \[0, 1, 2, 3\]; got '\[9\], not there'"):
        KafkaTopic(servers, "known", partitions=[0, 9]).start()
    with pytest.raises(DataError, match=r"got '\[7\], not there'"):
        KafkaTopic(servers, "known").read({"0": 0, "7": 0}, 1, 0)


def test_no_server_is_one_line():
    with pytest.raises(DataError, match="servers must be Kafka brokers that answer; got '127.0.0.1:") as refused:
        KafkaTopic(f"127.0.0.1:{free_port()}", "events", timeout_seconds=0.5).start()
    assert "\n" not in str(refused.value)


def test_wrong_settings_are_refused():
    with pytest.raises(ArgumentError, match="options must be settings of librdkafka; got .*'colour'"):
        KafkaTopic("127.0.0.1:1", "events", options={"colour": "red"}).start()
    with pytest.raises(ArgumentError, match="partitions must not be empty"):
        KafkaTopic("127.0.0.1:1", "events", partitions=[])
    with pytest.raises(ArgumentError, match="since must be"):
        KafkaTopic("127.0.0.1:1", "events", since="never")  # type: ignore[arg-type]


def test_a_position_is_plain_json(cluster):
    servers, producer = cluster
    fill(producer, "json", {2: 1})
    assert json.dumps(KafkaTopic(servers, "json").read({"2": 0}, 1, 0)[1]) == '{"0": 0, "1": 0, "2": 1, "3": 0}'
