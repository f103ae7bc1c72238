#!/usr/bin/python3
"""Health and reflection, as ordinary tools ask for them."""
import itertools

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool

from harness import (OUTPUT_EXISTING, SECONDS, Client, Daemon, DaemonTest, health, health_grpc,
                     int64s, main, module_callable, reflection, reflection_grpc, stored,
                     wait_until, wire)

Code = grpc.StatusCode
PACKAGE = "simpler.distributed.v1"
OURS = [f"{PACKAGE}.{service}" for service in ("L3Worker", "Catalog", "TensorPool")]
SERVING = health.HealthCheckResponse.SERVING
NOT_SERVING = health.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health.HealthCheckResponse.SERVICE_UNKNOWN


class Health(DaemonTest):
    def setUp(self):
        self.health = health_grpc.HealthStub(self.client.channel)

    def check(self, service):
        request = health.HealthCheckRequest(service=service)
        return self.health.Check(request, timeout=SECONDS).status

    def watch(self, service, stub=None):
        request = health.HealthCheckRequest(service=service)
        return (stub or self.health).Watch(request, timeout=SECONDS)

    def test_R17_readiness_of_the_server_and_of_each_service(self):
        for service in [""] + OURS:
            with self.subTest(service):
                self.assertEqual(self.check(service), SERVING)

    def test_an_unknown_service(self):
        self.refused(Code.NOT_FOUND, [], self.check, "no.such.Service")

    def test_watching_starts_with_the_present_state(self):
        for service, status in [("", SERVING), (OURS[0], SERVING),
                                ("no.such.Service", SERVICE_UNKNOWN)]:
            with self.subTest(service):
                watch = self.watch(service)
                self.assertEqual(next(watch).status, status)
                watch.cancel()

    def test_R17_a_daemon_that_drains_says_so_and_finishes_its_tasks(self):
        daemon = Daemon("--sub-workers", "1", "--pool-bytes", "16M")
        client = Client(daemon.address)
        gate = client.install(module_callable("gate_below"))
        flags = client.tensor([0, 0])
        watch = self.watch("", health_grpc.HealthStub(client.channel))
        self.assertEqual(next(watch).status, SERVING)
        task = client.dispatch_later(gate, [stored(flags, 2, OUTPUT_EXISTING)], [0])
        wait_until(lambda: client.values(flags)[1] == 1, "the task is running")
        push = client.pool.PushTensor.future(self.one_later(daemon, watch, flags),
                                             timeout=SECONDS)
        self.assertEqual(task.result().error_code, 0)
        push.result()
        self.assertEqual(daemon.wait(), 0)
        client.close()

    def one_later(self, daemon, watch, flags):
        """A push that was there before the daemon was told to stop, and opens the gate after."""
        yield wire.TensorChunk(handle=flags, data=b"")
        daemon.ask_to_stop()
        states = list(itertools.takewhile(lambda each: each.status != NOT_SERVING, watch))
        self.assertEqual(states, [])
        yield wire.TensorChunk(data=int64s([1]), last=True)


class Reflection(DaemonTest):
    def ask(self, **request):
        stub = reflection_grpc.ServerReflectionStub(self.client.channel)
        [answer] = stub.ServerReflectionInfo(
            iter([reflection.ServerReflectionRequest(**request)]), timeout=SECONDS)
        return answer

    def files(self, **request):
        answer = self.ask(**request)
        self.assertEqual(answer.error_response.error_message, "")
        return [descriptor_pb2.FileDescriptorProto.FromString(each)
                for each in answer.file_descriptor_response.file_descriptor_proto]

    def test_the_services_are_listed(self):
        listed = {each.name for each in
                  self.ask(list_services="").list_services_response.service}
        for service in OURS + ["grpc.health.v1.Health",
                               "grpc.reflection.v1alpha.ServerReflection"]:
            self.assertIn(service, listed)

    def test_a_tool_can_call_every_listed_service(self):
        """What a tool does that knows no contract: fetch the files, and look up the methods."""
        pool, added = descriptor_pool.DescriptorPool(), set()

        def add(file):
            if file.name not in added:
                added.add(file.name)
                for name in file.dependency:
                    add(self.files(file_by_filename=name)[0])
                pool.Add(file)

        listed = self.ask(list_services="").list_services_response.service
        for service in listed:
            for file in self.files(file_containing_symbol=service.name):
                add(file)
        methods = {service.name: [method.name for method in
                                  pool.FindServiceByName(service.name).methods]
                   for service in listed}
        self.assertEqual(methods[OURS[0]][:2], ["Dispatch", "Heartbeat"])
        self.assertEqual(methods[OURS[1]][:2], ["PullCallable", "PushCallable"])
        self.assertEqual(methods["grpc.health.v1.Health"], ["Check", "Watch"])

    def test_symbols_of_all_sorts(self):
        for symbol in (f"{PACKAGE}.L3Worker", f"{PACKAGE}.L3Worker.Dispatch",
                       f"{PACKAGE}.TensorHandle"):
            with self.subTest(symbol):
                [file, *_] = self.files(file_containing_symbol=symbol)
                self.assertEqual(file.package, PACKAGE)

    def test_the_contract_is_the_one_that_clients_were_built_from(self):
        [file, *_] = self.files(file_containing_symbol=OURS[0])
        ours = descriptor_pb2.FileDescriptorProto()
        wire.DESCRIPTOR.CopyToProto(ours)

        def numbers(contract):
            return {(message.name, field.name): (field.number, field.type, field.label)
                    for message in contract.message_type for field in message.field}

        self.assertEqual(numbers(file), numbers(ours))

    def test_what_is_not_there(self):
        for request in ({"file_containing_symbol": "no.such.Symbol"},
                        {"file_by_filename": "no_such.proto"}):
            with self.subTest(**request):
                answer = self.ask(**request)
                self.assertEqual(answer.error_response.error_code, Code.NOT_FOUND.value[0])
                self.assertNotEqual(answer.error_response.error_message, "")

    def test_several_questions_in_one_stream(self):
        stub = reflection_grpc.ServerReflectionStub(self.client.channel)
        questions = [reflection.ServerReflectionRequest(file_containing_symbol=symbol)
                     for symbol in (OURS[0], "no.such.Symbol", OURS[2])]
        answers = list(stub.ServerReflectionInfo(iter(questions), timeout=SECONDS))
        self.assertEqual([answer.WhichOneof("message_response") for answer in answers],
                         ["file_descriptor_response", "error_response",
                          "file_descriptor_response"])
        self.assertEqual([answer.original_request for answer in answers], questions)


main()
