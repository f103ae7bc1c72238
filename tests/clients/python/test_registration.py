#!/usr/bin/python3
"""Callables in two phases, and who owns them."""
import struct

import grpc

from harness import (INOUT, OUTPUT_EXISTING, SECONDS, Client, DaemonTest, inline, int64s, main,
                     module_callable, stored, values_of, wait_until, wire)

Code = grpc.StatusCode


class Session:
    """What a client of its own session does; without a number, one of no session."""

    def __init__(self, client, session=None):
        self.stub = client.catalog
        self.more = {"timeout": SECONDS}
        if session is not None:
            self.more["metadata"] = (("simpler-session", session),)

    def attach(self, client):
        client.worker.Attach(wire.AttachReq(), **self.more)
        return self

    def detach(self, client):
        client.worker.Detach(wire.Empty(), **self.more)

    def prepare(self, callable_, **more):
        return self.stub.PrepareCallable(callable_.message(**more), **self.more)

    def push(self, callable_):
        return self.stub.PushCallable(callable_.message(), **self.more)

    def commit(self, callable_, version=None):
        return self.stub.CommitCallable(ref(callable_, version), **self.more)

    def abort(self, callable_, version=None):
        return self.stub.AbortCallable(ref(callable_, version), **self.more)

    def unregister(self, callable_, version=None):
        return self.stub.UnregisterCallable(ref(callable_, version), **self.more)

    def unregister_later(self, callable_, **more):
        return self.stub.UnregisterCallable.future(ref(callable_), **{**self.more, **more})


def ref(callable_, version=None):
    return wire.CallableRef(callable_id=callable_.id,
                            version=callable_.version if version is None else version)


class Registration(DaemonTest):
    count = 0

    def setUp(self):
        """A callable that no other test uses, and two sessions."""
        Registration.count += 1
        self.factor = Registration.count + 1
        self.scale = module_callable("scale_below", state=struct.pack("<q", self.factor))
        self.one = Session(self.client, "1").attach(self.client)
        self.other = Session(self.client, "00000000deadbeef").attach(self.client)

    def dispatch(self):
        return self.client.dispatch(self.scale, [inline([2], INOUT)])

    def runs(self):
        response = self.dispatch()
        self.assertEqual((response.error_code, response.error_msg), (0, ""))
        self.assertEqual(values_of(response.output_tensors[0].inline_data), [2 * self.factor])

    def is_unregistered(self):
        self.refused(Code.FAILED_PRECONDITION, ["was unregistered"], self.dispatch)
        self.refused(Code.FAILED_PRECONDITION, ["was unregistered"],
                     self.client.catalog.PullCallable, ref(self.scale), timeout=SECONDS)

    def test_R03_what_is_prepared_is_visible_once_it_is_committed(self):
        answer = self.one.prepare(self.scale, version=0)
        self.assertEqual((answer.callable_id, answer.version), (self.scale.id, self.scale.version))
        self.refused(Code.FAILED_PRECONDITION, ["not committed"], self.dispatch)
        self.refused(Code.FAILED_PRECONDITION, ["not committed"],
                     self.client.catalog.PullCallable, ref(self.scale), timeout=SECONDS)
        self.one.commit(self.scale)
        self.runs()
        self.one.unregister(self.scale)
        self.is_unregistered()

    def test_R03_what_is_aborted_leaves_nothing(self):
        self.one.prepare(self.scale)
        self.one.abort(self.scale)
        self.is_unregistered()
        self.refused(Code.FAILED_PRECONDITION, ["not this session's"], self.one.commit, self.scale)
        self.one.prepare(self.scale)
        self.one.commit(self.scale)
        self.runs()
        self.one.unregister(self.scale)

    def test_it_stays_until_the_last_owner_has_left(self):
        nobody = Session(self.client)
        for session in self.one, self.other:
            session.prepare(self.scale)
            session.commit(self.scale)
        nobody.push(self.scale)
        for session in self.one, nobody, self.other:
            self.runs()
            session.unregister(self.scale)
        self.is_unregistered()

    def test_what_one_session_aborts_stays_visible_for_the_other(self):
        self.one.push(self.scale)
        self.other.prepare(self.scale)
        self.other.abort(self.scale)
        self.runs()
        self.one.unregister(self.scale)
        self.is_unregistered()

    def test_whoever_asks_again_after_a_lost_answer_gets_the_same_one(self):
        for _ in range(2):
            self.one.prepare(self.scale)
        for _ in range(2):
            self.one.commit(self.scale)
        self.one.prepare(self.scale)  # does not undo the commit
        self.refused(Code.FAILED_PRECONDITION, ["is committed", "unregister it"], self.one.abort,
                     self.scale)
        self.runs()
        for _ in range(2):
            self.one.unregister(self.scale)
        self.one.prepare(self.scale)
        for _ in range(2):
            self.one.abort(self.scale)

    def test_what_a_session_does_not_own_it_cannot_dispose_of(self):
        for decide in self.one.commit, self.one.abort, self.one.unregister:
            self.refused(Code.NOT_FOUND, ["not known here"], decide, self.scale)
        self.other.push(self.scale)
        for decide in self.one.commit, self.one.abort, self.one.unregister:
            self.refused(Code.FAILED_PRECONDITION, ["not this session's"], decide, self.scale)
            self.refused(Code.FAILED_PRECONDITION, ["not this session's"], decide, self.scale, 0)
        self.runs()
        self.other.unregister(self.scale, 0)
        self.is_unregistered()

    def test_an_unregistered_one_ends_with_its_last_task(self):
        self.scale = module_callable("gate", state=struct.pack("<q", self.factor))
        self.one.push(self.scale)
        flags = self.client.tensor([0, 0])
        running = self.client.dispatch_later(
            self.scale, [stored(flags, 2, OUTPUT_EXISTING)], [0])
        wait_until(lambda: self.client.values(flags)[1] == 1, "the task is running")
        calls = [self.one.unregister_later(self.scale) for _ in range(3)]
        impatient = self.one.unregister_later(self.scale, timeout=0.2)
        self.assertEqual(impatient.exception(timeout=SECONDS).code(), Code.DEADLINE_EXCEEDED)
        calls.pop().cancel()
        self.is_unregistered()
        self.assertEqual([call.done() for call in calls], [False, False])
        self.client.write(flags, int64s([1]))
        self.assertEqual(running.result().error_code, 0)
        for call in calls:
            call.result()
        self.client.free(flags)

    def test_one_that_is_registered_again_while_it_ends_is_not_waited_for(self):
        self.scale = module_callable("gate", state=struct.pack("<q", self.factor))
        self.one.push(self.scale)
        flags = self.client.tensor([0, 0])
        running = self.client.dispatch_later(
            self.scale, [stored(flags, 2, OUTPUT_EXISTING)], [0])
        wait_until(lambda: self.client.values(flags)[1] == 1, "the task is running")
        call = self.one.unregister_later(self.scale)
        wait_until(lambda: self.pull_fails(), "it is unregistered")
        self.assertFalse(call.done())
        self.other.push(self.scale)
        call.result()
        self.assertFalse(running.done())
        self.client.write(flags, int64s([1]))
        self.assertEqual(running.result().error_code, 0)
        self.client.free(flags)
        self.other.unregister(self.scale)
        self.is_unregistered()

    def pull_fails(self):
        try:
            self.client.catalog.PullCallable(ref(self.scale), timeout=SECONDS)
            return False
        except grpc.RpcError as error:
            return error.code() == Code.FAILED_PRECONDITION

    def test_what_is_prepared_cannot_be_loaded(self):
        broken = module_callable("scale_below", state=b"", module="undefined_symbol")
        self.refused(Code.INVALID_ARGUMENT, [], self.one.prepare,
                     broken._replace(module=b"no module"))
        self.refused(Code.NOT_FOUND, [], self.one.commit, broken)

    def test_what_a_session_owned_goes_with_it(self):
        gone = Session(self.client, "90e").attach(self.client)
        prepared = module_callable("scale_below", state=struct.pack("<q", -self.factor))
        gone.push(self.scale)
        gone.prepare(prepared)
        self.runs()
        gone.detach(self.client)
        self.is_unregistered()
        self.refused(Code.FAILED_PRECONDITION, [], gone.commit, prepared)
        gone.attach(self.client)
        self.refused(Code.FAILED_PRECONDITION, ["not this session's"], gone.commit, prepared)

    def test_sessions_that_are_none(self):
        for text in "0", "", "g", "DEADBEEF", "12345678123456781", "-1", " 1":
            session = Session(self.client, text)
            for call in session.prepare, session.push, session.commit, session.unregister:
                self.refused(Code.INVALID_ARGUMENT, ["simpler-session"], call, self.scale)

    def test_digests_that_are_not_the_callables(self):
        for method in "PrepareCallable", "PushCallable":
            for digest in bytes(32), b"short", self.scale.digest + b"x":
                self.refused(Code.INVALID_ARGUMENT, ["digest"],
                             getattr(self.client.catalog, method),
                             self.scale.message(digest=digest), timeout=SECONDS)
        self.client.catalog.PushCallable(
            self.scale.message(digest=self.scale.digest), timeout=SECONDS)
        answer = self.client.catalog.PullCallable(ref(self.scale, 0), timeout=SECONDS)
        self.assertEqual(answer.digest, self.scale.digest)


main()
