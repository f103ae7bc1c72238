// A daemon never dies of what a client sends.
'use strict';

const assert = require('node:assert/strict');
const net = require('node:net');
const { afterEach, test } = require('node:test');
const { MIB, Tag, grpc, inline, moduleCallable, valuesOf, withDaemon } = require('./harness');

const { status } = grpc;
const PACKAGE = '/simpler.distributed.v1.';
const UNARY = ['L3Worker/Dispatch', 'Catalog/PullCallable', 'Catalog/PushCallable',
  'TensorPool/AllocTensor', 'TensorPool/FreeTensor', 'TensorPool/RefreshTensor'];
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const it = withDaemon(['--sub-workers', '1', '--pool-bytes', '32M'], async (client) => ({
  twice: await client.install(moduleCallable('twice_below', { module: 'twice' })),
}));

afterEach(async () => {
  const answer = await it.client.dispatch(it.twice, [inline([21], Tag.INOUT)]);
  assert.deepEqual(valuesOf(answer.outputTensors[0].inlineData), [42]);
});

function sendBytes(data) {
  const [, host, port] = it.daemon.address.match(/^(.*):(\d+)$/);
  return new Promise((resolve) => {
    const peer = net.connect({ host, port: Number(port) });
    peer.on('data', () => {});
    peer.on('error', () => {}); // it may hang up at any time
    peer.on('close', resolve);
    peer.end(data);
  });
}

test('garbage instead of HTTP/2', async () => {
  for (const data of [Buffer.alloc(0), Buffer.alloc(100000), Buffer.alloc(100000, 0xff),
    Buffer.from('GET / HTTP/1.1\r\nHost: node\r\n\r\n'), PREFACE.subarray(0, 10),
    Buffer.concat([PREFACE, Buffer.alloc(100000, 0xff)])]) {
    await sendBytes(data);
    assert.ok((await it.client.heartbeat()).ok);
  }
});

test('a message over 64 MiB', async () => {
  await it.refused(status.RESOURCE_EXHAUSTED, [],
    it.client.raw(`${PACKAGE}L3Worker/Dispatch`, Buffer.alloc(64 * MIB + 1)));
  const chunk = { handle: { nbytes: 8 }, data: Buffer.alloc(65 * MIB) };
  await it.refused(status.RESOURCE_EXHAUSTED, [], it.client.push([chunk]));
});

test('unknown methods', async () => {
  for (const method of [`${PACKAGE}L3Worker/Nothing`, `${PACKAGE}Nothing/Heartbeat`,
    '/nothing/at'])
    await it.refused(status.UNIMPLEMENTED, [], it.client.raw(method, Buffer.alloc(0)));
});

test('bytes that are no message', async () => {
  for (const method of UNARY) {
    for (const data of [Buffer.alloc(40, 0xff), Buffer.from([0x0a]), Buffer.from([0x07]),
      Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f])]) {
      const details = await it.refused(status.INVALID_ARGUMENT, [],
        it.client.raw(PACKAGE + method, data));
      assert.ok(details.length > 20, details);
    }
  }
});

test('a truncated message', async () => {
  const whole = it.client.worker.Dispatch.requestSerialize({
    taskId: 1, callableId: it.twice.id, callableVersion: it.twice.version,
    tensorRefs: [inline([1, 2], Tag.INOUT)],
  });
  await it.refused(status.INVALID_ARGUMENT, [],
    it.client.raw(`${PACKAGE}L3Worker/Dispatch`, whole.subarray(0, whole.length - 1)));
});

test('calls that are given up', async () => {
  const handle = await it.client.alloc(16 * MIB);
  for (let i = 0; i < 10; i += 1) {
    await new Promise((resolve) => {
      const pull = it.client.pool.PullTensor(handle);
      pull.once('data', () => pull.cancel());
      pull.on('error', resolve);
    });
  }
  await it.client.free(handle);
});
