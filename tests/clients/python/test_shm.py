#!/usr/bin/python3
"""Memory that a client of the node's machine shares with it: tensors are read and written with no
byte through a socket, and tasks of workers that were there before work on them in place."""
import array
import fcntl
import mmap
import os
import pathlib
import resource
import signal
import socket
import struct
import tempfile
import time
import unittest

import grpc

from harness import (INOUT, MIB, OUTPUT, SECONDS, Client, Daemon, DaemonTest, int64s, main,
                     module_callable, stored, values_of, wait_until, wire)

Code = grpc.StatusCode
PAGE = 4096
SIZES = (0, 1, PAGE - 1, PAGE, PAGE + 1, MIB)


def connect(address):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(SECONDS)
    connection.connect("\0" + address[1:])
    return connection


def ask(session, version=1, wish=0):
    return struct.pack("=IIQ", version, wish, session)


class Answer:
    def __init__(self, connection):
        fds = array.array("i")
        data, beside, _, _ = connection.recvmsg(4096, socket.CMSG_LEN(16 * fds.itemsize))
        for _, _, more in beside:
            fds.frombytes(more[:len(more) - len(more) % fds.itemsize])
        self.fds = list(fds)
        self.closed = not data
        if data:
            fixed = struct.calcsize("=IiIQB")
            version, self.status, self.segment, self.nbytes, size = struct.unpack_from(
                "=IiIQB", data)
            assert version == 1 and len(data) == fixed + size
            self.text = data[fixed:].decode()


class Memory:
    """The segment of a client's session."""

    def __init__(self, client, address):
        with connect(address) as connection:
            connection.send(ask(int(client.session, 16)))
            answer = Answer(connection)
            assert (answer.status, len(answer.fds)) == (0, 1), answer.text
            assert connection.recv(1) == b""
        self.segment, self.fd = answer.segment, answer.fds[0]
        self.map = mmap.mmap(self.fd, answer.nbytes)

    def place(self, handle):
        version, segment, offset, nbytes = struct.unpack("<IIQQ", handle.transport_desc)
        assert (handle.transport, version, segment, nbytes) == (
            "shm", 1, self.segment, handle.nbytes)
        return slice(offset, offset + nbytes)

    def read(self, handle):
        return self.map[self.place(handle)]

    def write(self, handle, data):
        self.map[self.place(handle)] = data

    def resident(self):
        return os.fstat(self.fd).st_blocks * 512

    def close(self):
        self.map.close()
        os.close(self.fd)


class Shared(DaemonTest):
    def setUp(self):
        self.anne, self.ben = (Client(self.daemon.address, session) for session in ("a1", "b2"))
        self.address = self.anne.attach().shm_address
        self.ben.attach()
        self.memory = Memory(self.anne, self.address)

    def tearDown(self):
        self.memory.close()
        for client in self.anne, self.ben:
            client.detach()
            client.close()
        super().tearDown()

    def twice(self):
        return self.client.install(module_callable("twice_below", module="twice"))

    # --- bytes ---

    def test_what_is_written_there_is_what_others_read(self):
        for size in SIZES:
            with self.subTest(size=size):
                data = (bytes(range(251)) * (size // 251 + 1))[:size]
                handle = self.anne.alloc(size)
                if size == 0:
                    self.assertEqual((handle.transport, handle.transport_desc), ("grpc", b""))
                    continue
                self.assertEqual(self.memory.read(handle), bytes(size))
                self.memory.write(handle, data)
                self.assertEqual(self.anne.pull(handle), data)
                self.anne.write(handle, data[::-1])
                self.assertEqual(self.memory.read(handle), data[::-1])
                self.anne.free(handle)

    def test_R01_a_place_in_shared_memory_is_no_address(self):
        handle = self.anne.alloc(PAGE)
        self.assertEqual((handle.remote_addr, handle.rkey), (0, 0))
        place = self.memory.place(handle)  # a segment's number, and bytes within it
        self.assertLessEqual(place.stop, len(self.memory.map))
        # What a client says of it is not looked at.
        self.memory.write(handle, b"x" * PAGE)
        handle.transport_desc = struct.pack("<IIQQ", 1, 1, 0xdead0000, PAGE)
        self.assertEqual(self.anne.pull(handle), b"x" * PAGE)

    def test_R14_tasks_of_workers_from_before_work_on_it_in_place(self):
        twice = self.twice()
        handle = self.anne.alloc(5 * 8)
        self.memory.write(handle, int64s([1, 2, 3, 4, 5]))
        for times in 2, 4, 8:
            response = self.anne.dispatch(twice, [stored(handle, 5, INOUT)])
            self.assertEqual((response.error_code, response.error_msg), (0, ""))
            self.assertEqual(values_of(self.memory.read(handle)),
                             [times * i for i in range(1, 6)])
        # The result names the same place.
        self.assertEqual(response.output_tensors[0].handle.transport_desc, handle.transport_desc)

    def test_arguments_of_both_segments_and_inline_mix(self):
        add = self.client.install(module_callable("add_below"))
        old = Client(self.daemon.address, "c3")
        old.attach()
        before = old.tensor([10, 20])  # before it has memory of its own
        memory = Memory(old, self.address)
        after, total = old.alloc(16), old.alloc(32)
        self.assertEqual((before.transport, after.transport), ("grpc", "shm"))
        memory.write(after, int64s([1, 2]))
        response = old.dispatch(add, [stored(before, 2), stored(after, 2),
                                      stored(total, 2, OUTPUT, offset=16)])
        self.assertEqual((response.error_code, response.error_msg), (0, ""))
        self.assertEqual(values_of(memory.read(total)), [0, 0, 11, 22])
        memory.close()
        old.detach()
        old.close()

    def test_pushes_land_there_too(self):
        new = wire.TensorHandle(nbytes=2 * MIB + 1)
        handle = self.anne.push([
            wire.TensorChunk(handle=new, data=b"ab"),
            wire.TensorChunk(offset=2 * MIB, data=b"z", last=True)])
        data = self.memory.read(handle)
        self.assertEqual((data[:3], data[-1:]), (b"ab\0", b"z"))

    # --- who reaches what ---

    def test_a_session_has_its_own_memory_and_no_other(self):
        memory = Memory(self.ben, self.address)
        self.assertNotEqual(memory.segment, self.memory.segment)
        mine, his = self.anne.alloc(64), self.ben.alloc(64)
        self.memory.write(mine, b"a" * 64)
        memory.write(his, b"b" * 64)
        self.assertEqual(self.anne.pull(mine), b"a" * 64)
        self.assertEqual(self.ben.pull(his), b"b" * 64)
        # Nobody else's handle says where it is.
        other = self.client.alloc(64)
        self.assertEqual((other.transport, other.transport_desc), ("grpc", b""))
        self.client.free(other)
        memory.close()

    def test_who_asks_again_gets_the_same(self):
        again = Memory(self.anne, self.address)
        self.assertEqual(again.segment, self.memory.segment)
        handle = self.anne.alloc(8)
        again.write(handle, b"together")
        self.assertEqual(self.memory.read(handle), b"together")
        again.close()

    def test_the_memory_cannot_be_made_smaller(self):
        with self.assertRaises(OSError):
            os.ftruncate(self.memory.fd, 0)

    def test_the_memory_cannot_be_sealed(self):
        """Else workers could not map it, and what is freed there would stay beyond the limit."""
        for seal in 0x8, 0x10:  # F_SEAL_WRITE, F_SEAL_FUTURE_WRITE
            with self.assertRaises(PermissionError):
                fcntl.fcntl(self.memory.fd, 1033, seal)  # F_ADD_SEALS
        self.anne.free(self.anne.alloc(30 * MIB))
        self.client.free(self.client.alloc(30 * MIB))
        self.assertLess(self.client.status().pool.committed, 33 * MIB)

    def test_all_memory_counts_against_the_one_limit(self):
        held = self.client.alloc(20 * MIB)
        self.refused(Code.RESOURCE_EXHAUSTED, [str(13 * MIB), str(20 * MIB), str(32 * MIB)],
                     self.anne.alloc, 13 * MIB)
        mine = self.anne.alloc(12 * MIB)
        self.assertEqual(self.memory.resident(), 12 * MIB)
        self.refused(Code.RESOURCE_EXHAUSTED, [], self.client.alloc, 1)
        self.anne.free(mine)
        self.client.free(held)

    # --- ends ---

    def test_memory_of_a_session_that_is_over_is_nobodys(self):
        twice = self.twice()
        gone = Client(self.daemon.address, "d4")
        gone.attach()
        memory = Memory(gone, self.address)
        handle = gone.alloc(MIB)
        memory.write(handle, int64s([7] * (MIB // 8)))
        gone.dispatch(twice, [stored(handle, MIB // 8, INOUT)])
        gone.detach()
        wait_until(lambda: memory.resident() == 0, "its pages are given back")
        gone.attach()
        again = Memory(gone, self.address)
        self.assertNotEqual(again.segment, memory.segment)
        handle = gone.alloc(MIB)
        # Who has the old one mapped still, spoils nothing.
        memory.map[0:MIB] = b"x" * MIB
        self.assertEqual(again.read(handle), bytes(MIB))
        self.assertEqual(gone.pull(handle), bytes(MIB))
        gone.detach()
        gone.close()
        memory.close()
        again.close()

    def test_a_task_of_a_session_that_ends_keeps_its_memory_to_its_end(self):
        gate = self.client.install(module_callable("gate_below"))
        leaving = Client(self.daemon.address, "ab")
        leaving.attach()
        memory = Memory(leaving, self.address)
        flags = leaving.alloc(16)
        place = memory.place(flags)
        call = leaving.dispatch_later(gate, [stored(flags, 2, INOUT)], [0])
        # The task raises its flag where this client sees it, and waits for the other one.
        wait_until(lambda: values_of(memory.map[place]) == [0, 1], "the task runs")
        leaving.detach()
        self.assertEqual(memory.resident(), PAGE)
        memory.map[place] = int64s([1, 1])
        response = call.result(timeout=SECONDS)
        self.assertEqual((response.error_code, response.error_msg), (0, ""))
        wait_until(lambda: memory.resident() == 0, "its pages are given back")
        memory.close()
        leaving.close()

    def test_many_sessions_come_and_go(self):
        """More than may have memory at once, and each is used by a task."""
        twice = self.twice()
        for i in range(150):
            client = Client(self.daemon.address, f"e{i:x}")
            client.attach()
            memory = Memory(client, self.address)
            handle = client.alloc(8)
            memory.write(handle, int64s([i]))
            response = client.dispatch(twice, [stored(handle, 1, INOUT)])
            self.assertEqual((response.error_code, response.error_msg), (0, ""))
            self.assertEqual(values_of(memory.read(handle)), [2 * i])
            client.detach()
            client.close()
            memory.close()
        engine = self.engine()
        workers = [pid for pid in descendants(engine)
                   if "simpler-session" in pathlib.Path(f"/proc/{pid}/maps").read_text()]
        wait_until(lambda: all(mapped(pid) <= 2 for pid in [engine, *workers]),
                   "ended memory is unmapped everywhere")

    def sharing(self):
        return {each.name: each.sessions for each in self.client.status().transports}

    def test_status_tells_how_many_sessions_share_memory(self):
        wait_until(lambda: self.sharing() == {"grpc": 0, "shm": 1, "fabric": 0}, "anne's is one")
        again = Memory(self.anne, self.address)
        other = Memory(self.ben, self.address)
        self.assertEqual(self.sharing(), {"grpc": 0, "shm": 2, "fabric": 0})
        again.close()
        other.close()
        self.ben.detach()
        wait_until(lambda: self.sharing()["shm"] == 1, "ben's session is over")
        self.ben.attach()

    def test_so_many_sessions_have_memory_at_once(self):
        clients, memories = [], []
        for i in range(63):
            clients.append(Client(self.daemon.address, f"f{i:02x}"))
            clients[-1].attach()
            memories.append(Memory(clients[-1], self.address))
        with connect(self.address) as connection:
            connection.send(ask(0xb2))
            answer = Answer(connection)
        self.assertNotEqual(answer.status, 0)
        self.assertIn("64 sessions", answer.text)
        self.assertEqual(answer.fds, [])
        self.ben.free(self.ben.alloc(8))  # through gRPC, all the same
        for client, memory in zip(clients, memories):
            memory.close()
            client.detach()
            client.close()

    # --- engines ---

    def engine(self):
        [engine] = [pid for pid in children(self.daemon.process.pid)
                    if b"engine" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()]
        return engine

    def test_an_engine_that_is_started_anew_knows_it(self):
        twice = self.twice()
        handle = self.anne.alloc(8)
        self.memory.write(handle, int64s([21]))
        engine = self.engine()
        os.kill(engine, signal.SIGKILL)

        def done():
            try:
                response = self.anne.dispatch(twice, [stored(handle, 1, INOUT)])
                self.assertEqual((response.error_code, response.error_msg), (0, ""))
                return True
            except grpc.RpcError as error:
                self.assertEqual(error.code(), Code.UNAVAILABLE)
                return False
        wait_until(done, "another engine runs tasks")
        self.assertEqual(values_of(self.memory.read(handle)), [42])
        self.assertNotEqual(self.engine(), engine)

    # --- hostile peers ---

    def test_asks_that_make_no_sense_are_refused(self):
        for data, text in ((ask(0), "no session"), (ask(1, version=2), "version 2"),
                           (ask(1, wish=2), "what we do not know"), (b"x", "too short"),
                           (ask(1) + b"x", "bytes follow its end"), (b"x" * 4000, "larger"),
                           (ask(0xdead), "session dead is not attached")):
            with self.subTest(data[:20]), connect(self.address) as connection:
                connection.send(data)
                answer = Answer(connection)
                self.assertNotEqual(answer.status, 0)
                self.assertIn(text, answer.text)
                self.assertEqual(answer.fds, [])
                self.assertEqual(connection.recv(1), b"")
        self.assertEqual(Memory(self.anne, self.address).segment, self.memory.segment)

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to be somebody else")
    def test_another_user_is_turned_away(self):
        child = os.fork()
        if child == 0:
            answered = True
            try:
                os.setgid(65534)
                os.setuid(65534)
                with connect(self.address) as connection:
                    try:
                        connection.send(ask(0xa1))
                    except OSError:
                        pass  # turned away already
                    answered = not Answer(connection).closed
            except ConnectionError:
                answered = False
            finally:
                os._exit(1 if answered else 0)
        self.assertEqual(os.waitpid(child, 0)[1], 0)

    def test_descriptors_that_nobody_asked_for_are_closed(self):
        with connect(self.address) as connection:
            connection.sendmsg([ask(0xa1)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                              array.array("i", [0, 1, 2]))])
            self.assertNotEqual(Answer(connection).status, 0)

    def test_who_asks_while_the_engine_is_busy_waits_for_it(self):
        engine = self.engine()
        os.kill(engine, signal.SIGSTOP)
        try:
            # Each is told to the engine, which takes nothing.
            for i in range(1000):
                client = Client(self.daemon.address, f"1{i:x}")
                client.attach()
                with connect(self.address) as connection:
                    connection.send(ask(int(client.session, 16)))
                    answer = Answer(connection)
                self.assertFalse(answer.closed)
                if answer.status != 0:
                    break
                os.close(answer.fds[0])
                client.detach()
                client.close()
            self.assertIn("the node's engine is busy", answer.text)
            with connect(self.address) as connection:
                connection.send(ask(int(client.session, 16)))
                os.kill(engine, signal.SIGCONT)
                answer = Answer(connection)
            self.assertEqual((answer.status, len(answer.fds)), (0, 1))
            os.close(answer.fds[0])
            client.detach()
            client.close()
        finally:
            os.kill(engine, signal.SIGCONT)

    def test_peers_that_say_nothing_hold_nobody_up(self):
        silent = [connect(self.address) for _ in range(12)]
        began = time.monotonic()
        Memory(self.anne, self.address).close()
        self.assertLess(time.monotonic() - began, 30)
        for connection in silent:  # each is dropped, for room or after its time
            self.assertEqual(connection.recv(1), b"")
            connection.close()


def children(pid):
    return [int(child) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()]


def descendants(pid):
    below = children(pid)
    return below + [each for child in below for each in descendants(child)]


def mapped(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/maps").read_text().count("simpler-session")
    except FileNotFoundError:
        return 0


class Large(DaemonTest):
    options = ("--sub-workers", "1", "--pool-bytes", "600M")
    pool_bytes = 600 * MIB

    def test_256_MiB_are_shared_read_worked_on_and_given_back(self):
        size = 256 * MIB
        twice = self.client.install(module_callable("twice_below", module="twice"))
        client = Client(self.daemon.address, "a1")
        memory = Memory(client, client.attach().shm_address)
        handle, other = client.alloc(size), client.alloc(size)
        place = memory.place(handle)
        memory.map[place.stop - 16:place.stop] = int64s([20, 21])
        # A task's cost is that of its view, however large the tensor is.
        response = client.dispatch(twice, [stored(handle, 2, INOUT, size - 16)])
        self.assertEqual((response.error_code, response.error_msg), (0, ""))
        self.assertEqual(values_of(memory.map[place.stop - 16:place.stop]), [40, 42])
        chunks = client.read_chunks(handle)
        self.assertEqual(len(chunks), 256)
        self.assertEqual(values_of(chunks[-1].data[-16:]), [40, 42])
        self.assertEqual(memory.resident(), 2 * size)
        self.refused(Code.RESOURCE_EXHAUSTED, [str(size), str(2 * size)], client.alloc, size)
        client.free(other)
        client.free(handle)
        # What is kept for the next is a quarter of the pool at the most.
        self.assertLessEqual(memory.resident(), 150 * MIB)
        client.detach()
        wait_until(lambda: memory.resident() == 0, "nothing is kept of a session that is over")
        client.close()
        memory.close()


class FewDescriptors(unittest.TestCase):
    def test_who_connects_without_descriptors_for_him_waits_and_costs_nothing(self):
        with tempfile.TemporaryFile() as log:
            daemon = Daemon("--sub-workers", "1", "--pool-bytes", "1M", log=log)
            client = Client(daemon.address, "a1")
            address = client.attach().shm_address
            pid = daemon.process.pid
            before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            taken = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
            free = next(fd for fd in range(len(taken) + 1) if fd not in taken)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, before[1]))
            with connect(address) as connection:
                connection.send(ask(0xa1))

                def noticed(times):
                    wait_until(lambda: os.pread(log.fileno(), MIB, 0).count(b"Too many open files")
                               >= times, "the daemon says so")
                noticed(1)
                began, spent = time.monotonic(), seconds_spent(pid)
                noticed(3)
                self.assertLess(seconds_spent(pid) - spent, (time.monotonic() - began) / 4)
                resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
                answer = Answer(connection)
            self.assertEqual((answer.status, len(answer.fds)), (0, 1))
            os.close(answer.fds[0])
            client.close()
            daemon.ask_to_stop()
            self.assertEqual(daemon.wait(), 0)


def seconds_spent(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Off(DaemonTest):
    options = ("--sub-workers", "1", "--shm", "off")

    def test_nothing_is_served(self):
        client = Client(self.daemon.address, "a1")
        self.assertEqual(client.attach().shm_address, "")
        self.assertEqual(client.alloc(8).transport, "grpc")
        client.detach()
        client.close()


main()
