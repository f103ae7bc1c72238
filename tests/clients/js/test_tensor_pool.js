// Storage on a node, as a JavaScript client sees it.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { INT64, MIB, chunksOf, grpc, withDaemon } = require('./harness');

const { status } = grpc;
const it = withDaemon(['--sub-workers', '1', '--pool-bytes', '32M']);
const POOL_BYTES = 32 * MIB;
const pattern = (size) => Buffer.from(Array.from({ length: 251 }, (_, i) => i))
  .toString('latin1').repeat(size / 251 + 1).slice(0, size);
const bytes = (size) => Buffer.from(pattern(size), 'latin1');

test('heartbeat', async () => {
  assert.equal((await it.client.heartbeat()).ok, true);
});

test('R01_alloc_says_what_it_gave_and_no_address', async () => {
  const handle = await it.client.alloc(4096, { ttlMs: 60000, shape: [512], dtype: INT64 });
  assert.equal(handle.nodeId, 'node-under-test');
  assert.notEqual(handle.handleId, '0');
  assert.equal(handle.nbytes, '4096');
  assert.equal(handle.transport, 'grpc');
  assert.equal(handle.remoteAddr, '0');
  assert.equal(handle.rkey, 0);
  assert.ok(Math.abs(Number(handle.leaseDeadlineUnixMs) - Date.now() - 60000) < 30000);
  await it.client.free(handle);
});

for (const repeat of [true, false]) {
  test(`chunks that ${repeat ? 'all repeat' : 'do not repeat'} the handle`, async () => {
    const data = bytes(5 * MIB + 12345);
    const handle = await it.client.alloc(data.length);
    const pushed = await it.client.push(chunksOf(handle, data, { repeat }));
    assert.equal(pushed.handleId, handle.handleId);
    assert.ok((await it.client.pull(handle)).equals(data));
    await it.client.free(handle);
  });
}

test('a pull covers the tensor in order', async () => {
  const handle = await it.client.alloc(3 * MIB + 5);
  const chunks = await it.client.pullChunks(handle);
  let at = 0;
  for (const chunk of chunks) {
    assert.equal(Number(chunk.offset), at);
    at += chunk.data.length;
    assert.equal(chunk.last, at === 3 * MIB + 5);
  }
  await it.client.free(handle);
});

test('refresh moves the deadline', async () => {
  const handle = await it.client.alloc(64, { ttlMs: 60000 });
  const later = await it.client.refresh(handle, 600000);
  assert.equal(later.handleId, handle.handleId);
  assert.ok(Number(later.leaseDeadlineUnixMs) > Number(handle.leaseDeadlineUnixMs) + 400000);
  await it.client.free(handle);
});

test('a push whose first handle is 0 allocates', async () => {
  const data = bytes(2 * MIB + 3);
  const handle = await it.client.push(chunksOf({ nbytes: data.length }, data));
  assert.notEqual(handle.handleId, '0');
  assert.equal(handle.nbytes, String(data.length));
  assert.ok((await it.client.pull(handle)).equals(data));
  await it.client.free(handle);
});

test('a push of no chunk gives a handle of zero bytes, whose pull is one empty chunk', async () => {
  const handle = await it.client.push([]);
  assert.notEqual(handle.handleId, '0');
  const chunks = await it.client.pullChunks(handle);
  assert.deepEqual(chunks.map(({ data, last }) => [data.length, last]), [[0, true]]);
  await it.client.free(handle);
});

const usersOf = (handle) => ({
  pull: () => it.client.pull(handle),
  free: () => it.client.free(handle),
  refresh: () => it.client.refresh(handle),
  push: () => it.client.push([{ handle, data: Buffer.from('x'), last: true }]),
});

test('an unknown handle', async () => {
  const unknown = { nodeId: 'node-under-test', handleId: '4295032816' };
  for (const call of Object.values(usersOf(unknown)))
    await it.refused(status.NOT_FOUND, ['handle'], call());
});

test('a handle of another node', async () => {
  const handle = await it.client.alloc(64);
  for (const call of Object.values(usersOf({ ...handle, nodeId: 'some-other-node' })))
    await it.refused(status.NOT_FOUND, ['some-other-node', 'node-under-test'], call());
  await it.client.free(handle);
});

test('a stale handle', async () => {
  const handle = await it.client.alloc(64);
  await it.client.free(handle);
  for (const call of Object.values(usersOf(handle)))
    await it.refused(status.FAILED_PRECONDITION, [], call());
});

test('a write out of range', async () => {
  const handle = await it.client.alloc(100);
  for (const [offset, size] of [[100, 1], [99, 2], [0, 101], ['18446744073709551615', 1]]) {
    const chunk = { handle, offset, data: Buffer.alloc(size, 'b'), last: true };
    await it.refused(status.INVALID_ARGUMENT, [], it.client.push([chunk]));
  }
  assert.ok((await it.client.pull(handle)).equals(Buffer.alloc(100)));
  await it.client.free(handle);
});

test('a push past capacity names the numbers', async () => {
  const held = await it.client.alloc(MIB);
  const handle = { nbytes: POOL_BYTES + 1 };
  await it.refused(status.RESOURCE_EXHAUSTED,
    [POOL_BYTES + 1, MIB, POOL_BYTES].map(String),
    it.client.push([{ handle, data: Buffer.from('x'), last: true }]));
  await it.client.free(held);
});

test('shapes and types that make no sense', async () => {
  for (const [more, name] of [
    [{ shape: [-1], dtype: INT64 }, 'shape'],
    [{ shape: ['4611686018427387904', 8], dtype: INT64 }, 'shape'],
    [{ shape: Array(9).fill(1), dtype: INT64 }, 'shape'],
    [{ shape: [8], dtype: 99 }, 'dtype'],
    [{ shape: [8], dtype: -1 }, 'dtype'],
    [{ tag: 5 }, 'tag'],
    [{ tag: -1 }, 'tag'],
  ])
    await it.refused(status.INVALID_ARGUMENT, [name], it.client.alloc(8, more));
});

test('nothing of all this stayed', async () => {
  await it.client.free(await it.client.alloc(POOL_BYTES));
});
