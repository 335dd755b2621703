/**
 * Whatever comes in before a session is authenticated: a clear protocol error or a close within the deadline, nothing thrown,
 * nothing woken, nothing left over. Seeded; a failure names its case.
 */
import { connect, type Socket } from 'node:net';
import { Client } from 'pg';
import { readErrorFields, writeMessage, writeStartup } from '@coppice/postgres';
import { systemClock } from '@coppice/service-kit';
import { FULL, SeededRandom } from '@coppice/testing';
import { ENDPOINT, PASSWORD, TestProxy } from './proxy.fixture';

const SEED = FULL ? Math.trunc(systemClock.now() % 2 ** 31) : 20;
const RANDOM_CASES = FULL ? 20_000 : 300;
const FLOOD = FULL ? 5_000 : 400;
const LOGIN_MS = 1_000;
/** From the deadline to the close; other programs run as well. */
const SLACK_MS = 30_000;
const AT_ONCE = 150;

const u32 = (n: number): Buffer => Buffer.from([n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]);
const SSL = Buffer.concat([u32(8), u32(80877103)]);
const GSSENC = Buffer.concat([u32(8), u32(80877104)]);
const CANCEL = Buffer.concat([u32(16), u32(80877102), u32(1), u32(2)]);
const STARTUP = writeStartup([
  ['user', 'app'],
  ['database', 'db'],
  ['options', `endpoint=${ENDPOINT}`],
]);
const saslInitial = (mechanism: string, text: string): Buffer =>
  writeMessage('p', Buffer.concat([Buffer.from(`${mechanism}\0`), u32(text.length), Buffer.from(text)]));
const FIRST = saslInitial('SCRAM-SHA-256', 'n,,n=,r=fyko+d2lbbFgONRv9qkxdawL');
const FINAL = writeMessage('p', Buffer.from(`c=biws,r=fyko,p=${Buffer.alloc(32).toString('base64')}`));
const QUERY = writeMessage('Q', Buffer.from('select 1\0'));
const PASSWORD_MESSAGE = writeMessage('p', Buffer.from(`endpoint=${ENDPOINT};nope\0`));

interface Case {
  readonly name: string;
  readonly bytes: Buffer;
}

const cut = (name: string, before: readonly Buffer[], last: Buffer): Case[] =>
  Array.from({ length: last.length }, (_, end) => ({
    name: `${name} cut after ${end} bytes`,
    bytes: Buffer.concat([...before, last.subarray(0, end)]),
  }));

const withLength = (message: Buffer, at: number, length: number): Buffer => {
  const changed = Buffer.from(message);
  changed.writeUInt32BE(length >>> 0, at);
  return changed;
};
const LENGTHS = [0, 1, 3, 4, 7, 8, 9, 16, 10_000, 10_001, 16_384, 16_385, 0x7fffffff, 0x80000000, 0xffffffff];

function brokenCases(): Case[] {
  return [
    ...cut('startup', [], STARTUP),
    ...cut('TLS request', [], SSL),
    ...cut('cancel', [], CANCEL),
    ...cut('first SASL message', [STARTUP], FIRST),
    ...cut('last SASL message', [STARTUP, FIRST], FINAL),
    ...LENGTHS.map((n) => ({ name: `startup of length ${n}`, bytes: withLength(STARTUP, 0, n) })),
    ...LENGTHS.map((n) => ({
      name: `SASL of length ${n}`,
      bytes: Buffer.concat([STARTUP, withLength(FIRST, 1, n)]),
    })),
    ...LENGTHS.map((n) => ({ name: `cancel of length ${n}`, bytes: withLength(CANCEL, 0, n) })),
    {
      name: 'oversized startup',
      bytes: Buffer.concat([withLength(STARTUP, 0, 10_001), Buffer.alloc(20_000, 'a')]),
    },
    {
      name: 'oversized password',
      bytes: Buffer.concat([STARTUP, writeMessage('p', Buffer.alloc(100_000, 'a'))]),
    },
    ...orders(),
  ];
}

function orders(): Case[] {
  const parts = { SSL, GSSENC, CANCEL, STARTUP, FIRST, FINAL, QUERY, PASSWORD_MESSAGE };
  const names = Object.keys(parts) as (keyof typeof parts)[];
  return names.flatMap((a) =>
    names.map((b) => ({ name: `${a} then ${b}`, bytes: Buffer.concat([parts[a], parts[b]]) })),
  );
}

function randomCase(random: SeededRandom, number: number): Case {
  const valid = random.pick([
    STARTUP,
    Buffer.concat([STARTUP, FIRST]),
    Buffer.concat([STARTUP, FIRST, FINAL]),
    SSL,
    CANCEL,
  ]);
  const noise = Buffer.from(Array.from({ length: random.between(0, 400) }, () => random.between(0, 255)));
  if (random.chance(0.3)) return { name: `random ${number}: noise`, bytes: noise };
  const bytes = Buffer.concat([valid, random.chance(0.3) ? noise : Buffer.alloc(0)]);
  for (let flips = random.between(1, 6); flips > 0; flips -= 1)
    bytes[random.between(0, bytes.length - 1)] = random.between(0, 255);
  return { name: `random ${number}: flipped`, bytes };
}

describe('what comes in before a session', () => {
  let proxy: TestProxy;
  beforeAll(async () => {
    proxy = await TestProxy.start({ loginTimeoutMs: LOGIN_MS });
    await login();
  });
  afterAll(() => proxy.stop());
  beforeEach(() => (proxy.wakes = 0));
  afterEach(async () => {
    for (let waited = 0; proxy.serving > 0 && waited < SLACK_MS; waited += 20) await systemClock.sleep(20);
    expect({ serving: proxy.serving, thrown: proxy.thrown, onServer: proxy.serverSessions }).toEqual({
      serving: 0,
      thrown: [],
      onServer: 0,
    });
    expect(proxy.wakes).toBe(0);
    await login();
  });

  /** The proxy still serves; the deadline for the broken ones is short for a busy machine. */
  const login = async (): Promise<void> => {
    for (let attempt = 1; ; attempt += 1) {
      const client = new Client({
        host: '127.0.0.1',
        port: proxy.port,
        user: 'app',
        password: PASSWORD,
        database: 'db',
        options: `endpoint=${ENDPOINT}`,
      });
      client.on('error', () => undefined);
      try {
        await client.connect();
        return await client.end();
      } catch (error) {
        if (attempt === 10 || !(error as Error).message.includes('not completed in time')) throw error;
      }
    }
  };
  const open = (): Socket => {
    const socket = connect(proxy.port, '127.0.0.1');
    socket.on('error', () => undefined);
    return socket;
  };
  /** Sends and reads until the proxy closes; `leaves`: the client is off as soon as it has sent. */
  const talk = ({ bytes }: Case, leaves: boolean): Promise<{ answer: Buffer; ms: number }> =>
    new Promise((resolve) => {
      const from = systemClock.monotonic();
      const chunks: Buffer[] = [];
      const socket = open();
      socket.on('data', (chunk: Buffer) => chunks.push(chunk));
      socket.on('close', () =>
        resolve({ answer: Buffer.concat(chunks), ms: systemClock.monotonic() - from }),
      );
      socket.write(bytes, () => leaves && socket.destroy());
    });
  const runAll = async (cases: readonly Case[], leaves: boolean): Promise<void> => {
    const todo = [...cases];
    const work = async (): Promise<void> => {
      for (let next = todo.pop(); next; next = todo.pop()) {
        const { answer, ms } = await talk(next, leaves);
        if (leaves) continue;
        expect({ case: next.name, ...judge(answer) }).toEqual({ case: next.name, verdict: 'clear' });
        expect({ case: next.name, late: ms > LOGIN_MS + SLACK_MS }).toEqual({ case: next.name, late: false });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  };

  it('is answered with an error, or closed, when it is broken', () => runAll(brokenCases(), false));
  it('is forgotten when the client leaves in the middle of it', () => runAll(brokenCases(), true));
  it(`is answered with an error, or closed, when it is random (seed ${SEED})`, () => {
    const random = new SeededRandom(SEED);
    return runAll(
      Array.from({ length: RANDOM_CASES }, (_, n) => randomCase(random, n)),
      false,
    );
  });
  it('is closed when it is no TLS after the request for it', async () => {
    const random = new SeededRandom(SEED);
    const garbage = async (): Promise<void> => {
      const socket = open();
      const closed = new Promise((resolve) => socket.on('close', resolve));
      socket.write(SSL);
      const first = await new Promise<Buffer>((resolve) => socket.once('data', resolve));
      expect(first.toString()).toBe('S');
      socket.resume();
      const hello = [22, 3, 1, random.between(0, 1), random.between(0, 255)];
      const noise = Array.from({ length: random.between(1, 600) }, () => random.between(0, 255));
      socket.write(Buffer.from(random.chance(0.5) ? [...hello, ...noise] : noise));
      await closed;
    };
    await Promise.all(Array.from({ length: 20 }, garbage));
  });
  it('is ended at the deadline when it comes byte by byte', async () => {
    const from = systemClock.monotonic();
    const slow = async (): Promise<Buffer> => {
      const socket = open();
      const chunks: Buffer[] = [];
      const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
      socket.on('data', (chunk: Buffer) => chunks.push(chunk));
      for (const byte of STARTUP) {
        if (socket.destroyed || socket.readableEnded) break;
        socket.write(Buffer.from([byte]));
        await systemClock.sleep(60);
      }
      await closed;
      return Buffer.concat(chunks);
    };
    for (const answer of await Promise.all(Array.from({ length: 20 }, slow)))
      expect(answer.toString('latin1')).toContain('not completed in time');
    expect(systemClock.monotonic() - from).toBeLessThan(LOGIN_MS + SLACK_MS);
  });
  it('costs nothing for long when it is a flood that says nothing, or half of something', async () => {
    const before = process.memoryUsage();
    for (let wave = 0; wave < 2; wave += 1) {
      const flood = Array.from({ length: FLOOD }, (_, n) => {
        const socket = open();
        if (n % 2 === 0) socket.write(STARTUP.subarray(0, n % STARTUP.length));
        socket.resume();
        return new Promise((resolve) => socket.on('close', resolve));
      });
      await Promise.all(flood);
    }
    expect(process.memoryUsage().rss - before.rss).toBeLessThan(100 * 1024 * 1024);
  });
});

/** Whether an answer is made of whole messages that a client may get before it is in, and ends with an error when it has any. */
function judge(answer: Buffer): { readonly verdict: string } {
  let rest = answer;
  while (rest[0] === 78 || (rest[0] === 83 && rest.length === 1)) rest = rest.subarray(1);
  let last = '';
  while (rest.length > 0) {
    if (rest.length < 5) return { verdict: `torn: ${rest.toString('hex')}` };
    const type = String.fromCharCode(rest[0]!);
    const length = rest.readUInt32BE(1);
    if (!'REv'.includes(type) || length + 1 > rest.length)
      return { verdict: `unexpected ${type} of ${length}` };
    const fields = type === 'E' ? readErrorFields(rest.subarray(5, length + 1)) : undefined;
    if (
      fields &&
      !(fields.get('S') === 'FATAL' && /^[0-9A-Z]{5}$/.test(fields.get('C') ?? '') && fields.get('M'))
    )
      return { verdict: `unclear error ${JSON.stringify([...fields])}` };
    last = type;
    rest = rest.subarray(length + 1);
  }
  return { verdict: last === '' || last === 'E' ? 'clear' : `ends with ${last}` };
}
