#!/usr/bin/python3
"""L3Worker.Lane, by a client that knows only docs/wire.md, well behaved and not."""
import queue
import random
import struct

import grpc

from harness import (INOUT, MIB, SECONDS, Client, DaemonTest, inline, main, module_callable,
                     values_of, wait_until, wire)

Code = grpc.StatusCode
HELLO, DISPATCH, OUTCOME = 1, 2, 3
NOT_RUN = 1


def padded(data):
    return data + bytes(-len(data) % 8)


def record(kind, tag, body, flags=0, zero=0):
    body = padded(body)
    return struct.pack("<IBBHQ", 16 + len(body), kind, flags, zero, tag) + body


def tensor(values, tag=INOUT):
    data = struct.pack(f"<{len(values)}q", *values)
    return struct.pack("<BBBBI", 0, 7, tag, 1, 0) + struct.pack("<qQ", len(values), len(data)) + data


def stored(handle, count, tag=INOUT):
    return struct.pack("<BBBBIqQQQ", 1, 7, tag, 1, 0, count, handle.handle_id, handle.nbytes, 0)


def dispatch(tag, task, callable_, tensors=(), scalars=(), life=0, timeout_us=0, repeated=0,
             kind=2):
    body = struct.pack("<QQQQQHHBBBB", task, callable_.id, callable_.version, life, timeout_us,
                       len(scalars), len(tensors), kind, repeated, 0, 0)
    return record(DISPATCH, tag, body + struct.pack(f"<{len(scalars)}Q", *scalars) +
                  b"".join(tensors))


def records_of(data):
    while data:
        size, kind, flags, zero, tag = struct.unpack_from("<IBBHQ", data)
        assert 16 <= size <= len(data) and size % 8 == 0 and zero == 0
        yield kind, flags, tag, data[16:size]
        data = data[size:]


def outcome_of(body):
    code, note, size = struct.unpack_from("<IIQ", body)
    return code, note, body[16:16 + size]


class Lane:
    """One of its own session, which it attaches, unless there is to be none."""

    def __init__(self, client):
        self.outgoing = queue.SimpleQueue()
        self.call = client.worker.Lane(iter(self.outgoing.get, None), metadata=client.metadata)
        self.waiting = []

    def send(self, *records):
        self.outgoing.put(wire.LaneBatch(records=b"".join(records)))

    def close_send(self):
        self.outgoing.put(None)

    def take(self):
        """The next record."""
        while not self.waiting:
            self.waiting = list(records_of(next(self.call).records))
        return self.waiting.pop(0)

    def hello(self):
        kind, _, _, body = self.take()
        assert kind == HELLO
        version, credits = struct.unpack("<II", body)
        assert version == 1
        return credits

    def outcome(self):
        kind, _, tag, body = self.take()
        assert kind == OUTCOME
        return tag, *outcome_of(body)

    def end(self):
        """The code that it ended with."""
        try:
            for _ in self.call:
                pass
        except grpc.RpcError:
            pass
        self.close_send()
        return self.call.code()


class LaneTest(DaemonTest):
    options = DaemonTest.options + ("--max-streams", "4", "--max-session-tasks", "6",
                                    "--max-tasks", "5")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.twice = cls.client.install(module_callable("twice_below", module="twice"))

    def setUp(self):
        super().setUp()
        self.session = f"{random.randrange(1, 1 << 64):x}"
        self.own = Client(self.daemon.address, session=self.session)
        self.life = self.own.attach().session_life

    def tearDown(self):
        self.own.close()
        super().tearDown()
        response = self.client.dispatch(self.twice, [inline([21], INOUT)])
        self.assertEqual(values_of(response.output_tensors[0].inline_data), [42])

    def open(self):
        lane = Lane(self.own)
        lane.credits = lane.hello()
        return lane

    def open_count(self):
        return sum(lane.open for lane in self.client.status().lanes)

    def expect_twice(self, lane, tag, value):
        got, code, _, data = lane.outcome()
        self.assertEqual((got, code), (tag, 0))
        response = wire.DispatchResp.FromString(data)
        self.assertEqual(values_of(response.output_tensors[0].inline_data), [2 * value])

    # --- as it should be ---

    def test_dispatches_in_one_batch_are_each_answered(self):
        lane = self.open()
        self.assertIn("stream", self.own.attach().lanes)
        # No more than the node, or the session, has room for.
        self.assertEqual(lane.credits, 5)
        for turn in range(3):
            lane.send(*[dispatch(i << 32 | 7, turn * 10 + i, self.twice, [tensor([i])],
                                 life=self.life) for i in range(1, 4)])
            seen = sorted(lane.take() for _ in range(3))
            self.assertEqual([tag for _, _, tag, _ in seen], [i << 32 | 7 for i in range(1, 4)])
            for i, (_, _, _, body) in enumerate(seen, 1):
                code, _, data = outcome_of(body)
                self.assertEqual(code, 0)
                response = wire.DispatchResp.FromString(data)
                self.assertEqual(values_of(response.output_tensors[0].inline_data), [2 * i])
        self.assertEqual(self.open_count(), 1)
        lane.close_send()
        self.assertEqual(lane.end(), Code.OK)
        wait_until(lambda: self.open_count() == 0, "it is closed")

    def test_a_lane_takes_no_place_of_transfers(self):
        others = [Client(self.daemon.address, session=f"{i:x}") for i in range(1, 9)]
        for other in others:
            other.attach()
        lanes = [Lane(other) for other in others]
        self.assertEqual([lane.hello() for lane in lanes], [5] * len(lanes))
        self.assertEqual(self.open_count(), len(lanes))
        handle = self.client.tensor([1, 2, 3])
        self.assertEqual(self.client.values(handle), [1, 2, 3])
        self.client.free(handle)
        for lane, other in zip(lanes, others):
            lane.close_send()
            self.assertEqual(lane.end(), Code.OK)
            other.detach()
            other.close()

    # --- who is not of good will ---

    def test_without_a_session(self):
        for session, code in ((None, Code.INVALID_ARGUMENT), ("4711", Code.FAILED_PRECONDITION),
                              ("0", Code.INVALID_ARGUMENT), ("x" * 20, Code.INVALID_ARGUMENT)):
            with self.subTest(session=session):
                client = Client(self.daemon.address, session=session)
                self.assertEqual(Lane(client).end(), code)
                client.close()

    def test_records_that_are_none(self):
        good = dispatch(1, 1, self.twice, [tensor([1])])
        head = good[:16]
        for bad in (b"\xff" * 64, b"\0" * 64, head, head[:15], good[:-8], good + b"\0" * 8,
                    struct.pack("<I", 0xfffffff8) + good[4:], struct.pack("<I", 17) + good[4:],
                    record(HELLO, 0, struct.pack("<II", 1, 5)),
                    record(OUTCOME, 1, struct.pack("<IIQ", 0, 0, 0)), record(4, 1, b""),
                    record(DISPATCH, 1, b"", zero=1), random.Random(7).randbytes(4096)):
            with self.subTest(bad=bad[:24], size=len(bad)):
                lane = self.open()
                lane.send(bad)
                self.assertEqual(lane.end(), Code.INVALID_ARGUMENT)
                self.assertGreater(len(lane.call.details()), 20)
        wait_until(lambda: self.open_count() == 0, "all are closed")

    def test_a_bad_dispatch_is_told_and_the_lane_goes_on(self):
        lane = self.open()
        for i, bad in enumerate((
                dispatch(1, 0, self.twice), dispatch(1, 1, self.twice, kind=9),
                dispatch(1, 1, self.twice, repeated=2), record(DISPATCH, 1, b""),
                record(DISPATCH, 1, bytes(48), flags=1), record(DISPATCH, 1, b"\xff" * 400),
                dispatch(1, 1, self.twice, [tensor([1])[:-8]]),
                dispatch(1, 1, self.twice, [struct.pack("<BBBBI", 0, 7, 2, 255, 0)]),
                dispatch(1, 1, self.twice, [b"\x07" * 24]))):
            with self.subTest(i):
                lane.send(bad)
                tag, code, _, text = lane.outcome()
                self.assertEqual((tag, code), (1, Code.INVALID_ARGUMENT.value[0]))
                self.assertGreater(len(text), 15)
        lane.send(dispatch(2, 5, self.twice, [tensor([4])], life=self.life))
        self.expect_twice(lane, 2, 4)
        lane.close_send()

    def test_more_than_its_credits(self):
        """What is too much is refused, each by itself, and what is not runs."""
        lane = self.open()
        lane.send(*[dispatch(i, i, self.twice, [tensor([i])], life=self.life)
                    for i in range(1, 201)])
        codes = {}
        for _ in range(200):
            tag, code, note, _ = lane.outcome()
            self.assertNotIn(tag, codes)
            codes[tag] = code
            if code:
                self.assertEqual((code, note), (Code.RESOURCE_EXHAUSTED.value[0], NOT_RUN))
        self.assertIn(0, codes.values())
        lane.send(dispatch(7, 1000, self.twice, [tensor([8])], life=self.life))
        self.expect_twice(lane, 7, 8)
        lane.close_send()

    def test_one_tag_for_all(self):
        """The client's own business."""
        lane = self.open()
        lane.send(*[dispatch(9, i, self.twice, [tensor([1])], life=self.life) for i in (1, 2, 3)])
        self.assertEqual([lane.outcome()[0] for _ in range(3)], [9] * 3)
        lane.close_send()

    def test_messages_that_are_none(self):
        call = self.own.channel.stream_stream("/simpler.distributed.v1.L3Worker/Lane")
        for data in b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a", b"\x0a\x05ab":
            with self.subTest(data):
                answers = call(iter([data]), metadata=self.own.metadata, timeout=SECONDS)
                with self.assertRaises(grpc.RpcError) as caught:
                    list(answers)
                self.assertEqual(caught.exception.code(), Code.INVALID_ARGUMENT)

    def test_a_batch_over_64_MiB(self):
        lane = self.open()
        lane.send(bytes(65 * MIB))
        self.assertEqual(lane.end(), Code.RESOURCE_EXHAUSTED)

    def test_empty_batches(self):
        lane = self.open()
        for _ in range(1000):
            lane.send()
        lane.send(dispatch(2, 5, self.twice, [tensor([4])], life=self.life))
        self.expect_twice(lane, 2, 4)
        lane.close_send()

    def test_who_never_reads(self):
        """It gets no more than has room in its connection, and holds up nobody."""
        lane = Lane(self.own)
        wrong = record(DISPATCH, 1, b"\xff" * 48) * 10000
        for _ in range(20):
            lane.send(wrong)
        response = self.client.dispatch(self.twice, [inline([3], INOUT)])
        self.assertEqual(values_of(response.output_tensors[0].inline_data), [6])
        self.own.close()
        self.own = Client(self.daemon.address, session=self.session)
        wait_until(lambda: self.open_count() == 0, "it is closed")
        lane.close_send()

    def test_thousands_of_lanes(self):
        """Each displaces the one before."""
        lanes = []
        for i in range(1500):
            lanes.append(self.open())
            if i % 100 == 99:
                self.assertEqual(self.open_count(), 1)
        for lane in lanes[:-1]:
            self.assertEqual(lane.end(), Code.ABORTED)
        lanes[-1].close_send()
        self.assertEqual(lanes[-1].end(), Code.OK)

    def test_thousands_of_lanes_that_nobody_reads(self):
        lanes = [Lane(self.own) for _ in range(2000)]
        self.assertTrue(self.own.heartbeat().ok)
        self.assertLessEqual(self.open_count(), 1)
        for lane in lanes:
            lane.call.cancel()
            lane.close_send()
        wait_until(lambda: self.open_count() == 0, "all are closed")

    def test_lanes_that_are_given_up(self):
        for i in range(50):
            lane = self.open()
            lane.send(dispatch(1, i + 1, self.twice, [tensor([1])], life=self.life))
            lane.call.cancel()
            lane.close_send()
        wait_until(lambda: self.open_count() == 0, "all are closed")
        # What they asked for is known, or runs.
        lane = self.open()
        lane.send(dispatch(1, 50, self.twice, [tensor([1])], life=self.life, repeated=1))
        self.expect_twice(lane, 1, 1)
        lane.close_send()

    def test_a_session_that_ends_takes_its_lane_along(self):
        lane = self.open()
        self.own.detach()
        self.assertEqual(lane.end(), Code.UNAVAILABLE)
        self.assertIn("session is over", lane.call.details())
        self.assertEqual(self.open_count(), 0)

    def test_a_session_that_falls_silent_takes_its_lane_along_whatever_runs(self):
        gate = self.client.install(module_callable("gate_below"))
        self.own.attach(ttl_ms=1000)
        flags = self.own.tensor([0, 0])
        lane = self.open()
        lane.send(dispatch(1, 51, gate, [stored(flags, 2)], [0], life=self.life))
        wait_until(lambda: self.client.status().queue.in_flight == 1, "the task is there")
        wait_until(lambda: self.open_count() == 0, "the lane is closed")
        self.assertEqual(self.client.status().queue.in_flight, 1)
        self.assertEqual(lane.end(), Code.UNAVAILABLE)
        wait_until(lambda: self.client.status().queue.in_flight == 0, "the task is stopped")
        wait_until(lambda: self.client.status().pool.handles == 0, "what it had is freed")


main()
