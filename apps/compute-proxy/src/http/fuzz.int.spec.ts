/**
 * Broken HTTP and broken WebSockets: an error or a close within the deadline, and afterwards nothing is left over and everything
 * works. Seeded; a failure names its case.
 */
import { connect } from 'node:net';
import { writeMessage, writeStartup } from '@coppice/postgres';
import { systemClock } from '@coppice/service-kit';
import { SeededRandom } from '@coppice/testing';
import { Client, neonConfig } from '@neondatabase/serverless';
import WebSocket from 'ws';
import { ENDPOINT, HttpWorld, MAX_BYTES } from '../testing/http-world';

const FULL = process.env['COPPICE_TEST_FULL'] !== undefined;
const SEED = FULL ? Math.trunc(systemClock.now() % 2 ** 31) : 20;
const RANDOM_CASES = FULL ? 5_000 : 200;
const AT_ONCE = 100;
/** A request has 2 s, as has a login; that they are over is looked at every 2 s, on a busy machine. */
const DEADLINE_MS = 30_000;

const TLS_ALERT = Buffer.from([21, 3]).toString('latin1');

interface Case {
  readonly name: string;
  readonly bytes: Buffer;
}

let world: HttpWorld;
beforeAll(async () => {
  world = await HttpWorld.start();
  neonConfig.webSocketConstructor = WebSocket;
  neonConfig.useSecureWebSocket = false;
  neonConfig.wsProxy = () => `127.0.0.1:${world.port}/v2`;
});
afterAll(() => world?.stop());
afterEach(async () => {
  const sessions =
    "select count(*)::int as n from pg_stat_activity where usename = 'app' and state <> 'idle'";
  const busy = async (): Promise<number> => (await world.postgres.query<{ n: number }>(sessions))[0]!.n;
  for (const from = systemClock.monotonic(); systemClock.monotonic() - from < DEADLINE_MS; ) {
    if (world.budget.held === 0 && (await busy()) === 0) break;
    await systemClock.sleep(50);
  }
  expect({ held: world.budget.held, busy: await busy() }).toEqual({ held: 0, busy: 0 });
  const client = new Client(world.uri());
  await client.connect();
  expect((await client.query('select 1 as a')).rows).toEqual([{ a: 1 }]);
  await client.end();
  const response = await fetch(`http://127.0.0.1:${world.port}/sql`, {
    method: 'POST',
    headers: { 'neon-connection-string': world.uri() },
    body: '{"query":"select 1 as a"}',
  });
  expect(response.status).toBe(200);
});

/** Sends, and reads until the proxy has answered or closed; `leaves`: the client is off as soon as it has sent. */
const talk = ({ bytes }: Case, leaves: boolean, everyMs = 0): Promise<{ answer: string; ms: number }> =>
  new Promise((resolve) => {
    const from = systemClock.monotonic();
    let answer = '';
    const socket = connect(world.port, '127.0.0.1');
    socket
      .on('error', () => undefined)
      .on('data', (chunk: Buffer) => {
        answer += chunk.toString('latin1');
        // A connection that is to be kept alive stays open for more than a minute.
        if (!answer.startsWith('HTTP/1.1 101')) void systemClock.sleep(200).then(() => socket.destroy());
      });
    socket.on('close', () => resolve({ answer, ms: systemClock.monotonic() - from }));
    if (everyMs === 0) return void socket.write(bytes, () => leaves && socket.destroy());
    const drip = async (): Promise<void> => {
      for (const byte of bytes) {
        if (socket.destroyed) return;
        socket.write(Buffer.from([byte]));
        await systemClock.sleep(everyMs);
      }
    };
    void drip();
  });
/** An answer of HTTP or an alert of TLS, or nothing; 200 is for what was left whole. */
const isClear = (answer: string): boolean =>
  answer === '' ||
  answer.startsWith(TLS_ALERT) ||
  /^HTTP\/1\.1 (101|200|400|401|403|404|405|408|411|413|414|415|417|426|431|501|505) /.test(answer);
const runAll = async (cases: readonly Case[], leaves = false): Promise<void> => {
  const todo = [...cases];
  const work = async (): Promise<void> => {
    for (let next = todo.pop(); next; next = todo.pop()) {
      const { answer, ms } = await talk(next, leaves);
      if (leaves) continue;
      const verdict = !isClear(answer)
        ? `unclear: ${answer.slice(0, 200)}`
        : ms > DEADLINE_MS
          ? 'late'
          : 'clear';
      expect({ case: next.name, verdict }).toEqual({ case: next.name, verdict: 'clear' });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
};
const flipped = (random: SeededRandom, bytes: Buffer): Buffer => {
  const changed = Buffer.from(bytes);
  for (let flips = random.between(1, 6); flips > 0; flips -= 1)
    changed[random.between(0, changed.length - 1)] = random.between(0, 255);
  return changed;
};
const every = (step: number, name: string, before: Buffer, last: Buffer): Case[] =>
  Array.from({ length: Math.ceil(last.length / step) }, (_, n) => ({
    name: `${name} cut after ${n * step} bytes`,
    bytes: Buffer.concat([before, last.subarray(0, n * step)]),
  }));

describe('a broken request to /sql', () => {
  const BODY = '{"query":"select 1"}';
  /** `Connection: close`, so that an answer is the end. */
  const request = (headers: string, body = BODY, first = 'POST /sql HTTP/1.1'): Buffer =>
    Buffer.from(
      `${first}\r\nHost: h\r\nConnection: close\r\nNeon-Connection-String: ${world.uri()}\r\n${headers}\r\n${body}`,
    );
  const whole = (): Buffer => request(`Content-Length: ${BODY.length}\r\n`);
  const chunked = 'Transfer-Encoding: chunked\r\n';
  const cases = (): Case[] => [
    ...every(7, 'a request', Buffer.alloc(0), whole()),
    ...['-1', 'abc', '1e9', '99999999999999999999', '+5', ''].map((length) => ({
      name: `a content length of "${length}"`,
      bytes: request(`Content-Length: ${length}\r\n`),
    })),
    { name: 'two lengths', bytes: request('Content-Length: 5\r\nContent-Length: 6\r\n') },
    { name: 'a length and chunks', bytes: request(`Content-Length: 5\r\n${chunked}`) },
    ...['zz\r\n', 'ffffffffffffffff\r\n', '5\r\nabc', '5\r\nabcdefgh\r\n0\r\n\r\n', '-1\r\n\r\n'].map(
      (body) => ({
        name: `chunks ${JSON.stringify(body)}`,
        bytes: request(chunked, body),
      }),
    ),
    { name: 'a body above the limit', bytes: request(`Content-Length: ${MAX_BYTES + 1}\r\n`) },
    { name: 'chunks above the limit', bytes: request(chunked, chunkOf(MAX_BYTES + 1)) },
    { name: 'headers above the limit', bytes: request(`X: ${'x'.repeat(20_000)}\r\n`) },
    { name: 'a header without end', bytes: Buffer.from(`GET / HTTP/1.1\r\nX: ${'x'.repeat(100_000)}`) },
    { name: 'no version', bytes: request('', BODY, 'POST /sql') },
    { name: 'a strange version', bytes: request('', BODY, 'POST /sql HTTP/9.9') },
    { name: 'a strange method', bytes: request('', BODY, 'BREW /sql HTTP/1.1') },
    { name: 'NUL in a header', bytes: request('X: \0\r\n') },
    { name: 'a folded header', bytes: request('X: a\r\n b\r\n') },
    { name: 'HTTP/2 in clear', bytes: Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n') },
    { name: 'TLS that is none', bytes: Buffer.from([22, 3, 1, 0, 5, 1, 2, 3, 4, 5]) },
    { name: 'PostgreSQL', bytes: writeStartup([['user', 'app']]) },
  ];
  const chunkOf = (size: number): string => `${size.toString(16)}\r\n${'x'.repeat(size)}\r\n0\r\n\r\n`;

  it('gets an error, or a close', () => runAll(cases()));
  it('is forgotten when its client leaves in the middle of it', () => runAll(cases(), true));
  it(`gets an error, or a close, when it is random (seed ${SEED})`, () => {
    const random = new SeededRandom(SEED);
    const valid = whole();
    return runAll(
      Array.from({ length: RANDOM_CASES }, (_, n) => ({
        name: `random ${n}`,
        bytes: flipped(random, valid).subarray(
          0,
          random.chance(0.5) ? undefined : random.between(1, valid.length),
        ),
      })),
    );
  });
  it('is ended when it comes byte by byte', async () => {
    for (const { ms } of await Promise.all(
      Array.from({ length: 20 }, () => talk({ name: 'slow', bytes: whole() }, false, 300)),
    ))
      expect(ms).toBeLessThan(DEADLINE_MS);
  });
});

describe('a broken WebSocket', () => {
  const HELLO = Buffer.from(
    'GET /v2 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
  );
  const BINARY = 0x82;
  const MASKED = 0x80;
  const MASK = Buffer.from([1, 2, 3, 4]);
  const masked = (payload: Buffer): Buffer => payload.map((byte, at) => byte ^ MASK[at % 4]!) as Buffer;
  const frame = (first: number, payload: Buffer, isMasked = true): Buffer => {
    const { length } = payload;
    const bit = isMasked ? MASKED : 0;
    const size = length < 126 ? [bit | length] : [bit | 126, length >> 8, length & 255];
    return Buffer.concat([
      Buffer.from([first, ...size]),
      ...(isMasked ? [MASK, masked(payload)] : [payload]),
    ]);
  };
  const STARTUP = writeStartup([
    ['user', 'app'],
    ['database', 'postgres'],
    ['options', `endpoint=${ENDPOINT}`],
  ]);
  const LOGIN = Buffer.concat([STARTUP, writeMessage('p', Buffer.from('wrong\0'))]);
  const length64 = (high: number, low: number): Buffer => {
    const head = Buffer.alloc(14);
    head[0] = BINARY;
    head[1] = MASKED | 127;
    head.writeUInt32BE(high, 2);
    head.writeUInt32BE(low, 6);
    return head;
  };
  const after = (name: string, bytes: Buffer): Case => ({ name, bytes: Buffer.concat([HELLO, bytes]) });
  const cases = (): Case[] => [
    ...every(9, 'an upgrade', Buffer.alloc(0), HELLO),
    ...every(3, 'a frame', HELLO, frame(BINARY, LOGIN)),
    after('no mask', frame(BINARY, LOGIN, false)),
    after('reserved bits', frame(BINARY | 0x70, LOGIN)),
    ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((code) => after(`opcode ${code}`, frame(0x80 | code, LOGIN))),
    after('a continuation of nothing', frame(0x80, LOGIN)),
    after('a message within another', Buffer.concat([frame(0x02, LOGIN), frame(BINARY, LOGIN)])),
    after('a ping in pieces', frame(0x09, Buffer.from('x'))),
    after('a ping that is too long', frame(0x89, Buffer.alloc(126))),
    after('a close with half a code', frame(0x88, Buffer.from([3]))),
    after('a close with a wrong code', frame(0x88, Buffer.from([0, 1]))),
    after('text', frame(0x81, Buffer.from([0xff, 0xfe]))),
    after('a message above the limit', length64(0, MAX_BYTES + 1)),
    after('a length of 2^53', length64(0x200000, 0)),
    after('a length of 2^64 - 1', length64(0xffffffff, 0xffffffff)),
    after(
      'pieces without end',
      Buffer.concat(Array.from({ length: 2_000 }, () => frame(0x00, Buffer.alloc(600)))),
    ),
    after('a wrong password', frame(BINARY, LOGIN)),
    after('noise within frames', frame(BINARY, Buffer.from('GET / HTTP/1.1\r\n\r\n'))),
    { name: 'a strange key', bytes: Buffer.from(HELLO.toString().replace('dGhlIHNhbXBsZSBub25jZQ==', 'x')) },
    { name: 'a strange version', bytes: Buffer.from(HELLO.toString().replace('Version: 13', 'Version: 99')) },
  ];

  it('is closed, by the end of the time for logins at the latest', () => runAll(cases()));
  it('is forgotten when its client leaves in the middle of it', () => runAll(cases(), true));
  it(`is closed when it is random (seed ${SEED})`, () => {
    const random = new SeededRandom(SEED);
    const valid = Buffer.concat([frame(BINARY, STARTUP), frame(BINARY, LOGIN.subarray(STARTUP.length))]);
    return runAll(
      Array.from({ length: RANDOM_CASES }, (_, n) =>
        after(`random ${n}`, flipped(random, valid).subarray(0, random.between(1, valid.length))),
      ),
    );
  });
  it('is ended when it comes byte by byte', async () => {
    const slow = { name: 'slow', bytes: Buffer.concat([HELLO, frame(BINARY, LOGIN)]) };
    const atOnce = Array.from({ length: 20 }, () => talk(slow, false, 100));
    for (const { ms } of await Promise.all(atOnce)) expect(ms).toBeLessThan(DEADLINE_MS);
  });
});
