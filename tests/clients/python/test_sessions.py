#!/usr/bin/python3
"""Sessions as a client in another language has them: a number in the metadata of its calls."""
import grpc

from harness import (INOUT, SECONDS, Client, DaemonTest, inline, main, module_callable, request,
                     values_of, wait_until, wire)

Code = grpc.StatusCode
LONGEST = 86400000


def named(session):
    return [("simpler-session", session)]


class Sessions(DaemonTest):
    def attach(self, session, ttl_ms=0, client=None):
        return (client or self.client).worker.Attach(
            wire.AttachReq(ttl_ms=ttl_ms), metadata=named(session), timeout=SECONDS)

    def detach(self, session):
        return self.client.worker.Detach(wire.Empty(), metadata=named(session), timeout=SECONDS)

    def dispatch(self, session):
        twice = self.client.install(module_callable("twice_below", module="twice"))
        response = self.client.worker.Dispatch(request(twice, [inline([21], INOUT)]),
                                               metadata=named(session), timeout=SECONDS)
        return values_of(response.output_tensors[0].inline_data)

    def test_attaching_tells_of_the_node_and_begins_or_renews(self):
        first = self.attach("a1", ttl_ms=5000)
        self.assertEqual((first.node_id, first.ttl_ms, first.known),
                         ("node-under-test", 5000, False))
        self.assertNotEqual(first.boot_id, 0)
        other = Client(self.daemon.address)
        again = self.attach("a1", client=other)
        self.assertEqual((again.boot_id, again.ttl_ms, again.known), (first.boot_id, 60000, True))
        self.assertEqual(self.attach("a1", ttl_ms=1 << 63).ttl_ms, LONGEST)
        other.close()

    def test_a_session_dispatches_while_it_is_attached(self):
        self.refused(Code.FAILED_PRECONDITION, ["session b2 is not attached"], self.dispatch, "b2")
        self.attach("b2")
        self.assertEqual(self.dispatch("b2"), [42])
        self.detach("b2")
        self.refused(Code.FAILED_PRECONDITION, ["session b2 is not attached"], self.dispatch, "b2")
        self.assertFalse(self.attach("b2").known)

    def test_a_session_that_nobody_renews_is_over(self):
        self.attach("c3", ttl_ms=1)  # made 100 ms

        def is_over():
            try:
                self.dispatch("c3")
                return False
            except grpc.RpcError as error:
                self.assertEqual(error.code(), Code.FAILED_PRECONDITION)
                return True

        wait_until(is_over, "the session is over")

    def test_detaching_again_changes_nothing(self):
        self.attach("d4")
        for _ in range(3):
            self.detach("d4")

    def test_what_is_no_session_is_refused(self):
        for session in "", "0", "00", "x", "A1", "-1", "0x1", "1 ", "1" * 17, "1" * 4000:
            with self.subTest(session[:20]):
                self.refused(Code.INVALID_ARGUMENT, ["simpler-session"], self.attach, session)
                self.refused(Code.INVALID_ARGUMENT, ["simpler-session"], self.dispatch, session)

    def test_attaching_and_detaching_are_of_a_session(self):
        for call, message in ((self.client.worker.Attach, wire.AttachReq()),
                              (self.client.worker.Detach, wire.Empty())):
            self.refused(Code.INVALID_ARGUMENT, ["simpler-session"], call, message,
                         timeout=SECONDS)

    def test_another_start_of_the_daemon_has_another_boot_id(self):
        other = type(self.daemon)(*self.options)
        client = Client(other.address)
        self.assertNotEqual(self.attach("e5", client=client).boot_id, self.attach("e5").boot_id)
        client.close()
        other.ask_to_stop()
        self.assertEqual(other.wait(), 0)


main()
