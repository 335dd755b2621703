import { ClientStatements, StatementMemory, StatementRegistry } from './prepared-statements';

const KIB = 1024;
/** A Parse message after the statement's name. */
const body = (text: string): Buffer => Buffer.from(`${text}\0\0\0`);
/** Takes 201 KiB. */
const long = (n: number): Buffer => body(`select ${n} -- ${'x'.repeat(100 * KIB)}`);
/** Prepares different ones until one is refused. */
function fill(client: ClientStatements): number {
  for (let n = 0; ; n++) if (!client.add(`s${n}`, long(n))) return n;
}

describe('prepared statements of pooled clients', () => {
  it('of one text are one on servers, whatever the clients call it', () => {
    const registry = new StatementRegistry(new StatementMemory(16_000 * KIB).share());
    const [a, b] = [new ClientStatements(registry), new ClientStatements(registry)];
    expect(a.add('mine', body('select 1'))).toBe(b.add('yours', body('select 1')));
    expect(registry.size).toBe(1);
  });

  it('of one endpoint take a sixteenth of the memory, under however many roles and databases', () => {
    const memory = new StatementMemory(16 * 1_100 * KIB);
    const share = memory.share();
    const [first, second] = [new StatementRegistry(share), new StatementRegistry(share)];
    const client = new ClientStatements(first);
    expect([fill(client), fill(new ClientStatements(second))]).toEqual([5, 0]);
    expect(fill(new ClientStatements(new StatementRegistry(memory.share())))).toBe(5);
    // One that is there already takes nothing.
    expect(new ClientStatements(first).add('other', long(0))).toBeDefined();
    client.remove('s4');
    expect(new ClientStatements(second).add('other', long(0))).toBeDefined();
  });

  it('of all endpoints take no more than there is; those that no client has go for them', () => {
    const memory = new StatementMemory(16 * 1_100 * KIB);
    const shares = Array.from({ length: 40 }, () => memory.share());
    for (const share of shares.slice(0, 20)) {
      const gone = new ClientStatements(new StatementRegistry(share));
      fill(gone);
      gone.clear();
    }
    const taken = shares.slice(20).map((share) => fill(new ClientStatements(new StatementRegistry(share))));
    expect(taken.reduce((sum, n) => sum + n)).toBe(Math.floor((16 * 1_100) / 200.6));
    expect(memory.held).toBeLessThanOrEqual(16 * 1_100 * KIB);
  });

  it("are the client's own again when it turns out that it never lost one, full or not", () => {
    const memory = new StatementMemory(16 * 1_100 * KIB);
    const registry = new StatementRegistry(memory.share());
    const [client, other] = [new ClientStatements(registry), new ClientStatements(registry)];
    fill(client);
    client.remove('s0');
    other.add('s9', long(9));
    expect(client.add('s0', long(0))).toBeUndefined();
    expect(client.add('s0', long(0), true)).toBeDefined();
  });

  it('give all of it back with the last of their clients, whichever goes first', () => {
    const memory = new StatementMemory(64_000 * KIB);
    for (const closesFirst of [true, false]) {
      const registry = new StatementRegistry(memory.share());
      const clients = [new ClientStatements(registry), new ClientStatements(registry)];
      clients.forEach((client, i) => [0, 1, 2].forEach((n) => client.add(`s${n}`, long(n + i))));
      expect(memory.held).toBeGreaterThan(800 * KIB);
      if (closesFirst) registry.close();
      for (const client of clients) client.clear();
      if (!closesFirst) registry.close();
      expect(memory.held).toBe(0);
    }
  });
});
