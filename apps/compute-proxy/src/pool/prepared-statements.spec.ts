import { ClientStatements, StatementMemory, StatementRegistry } from './prepared-statements';

const KIB = 1024;
/** A Parse message after the statement's name. */
const body = (text: string): Buffer => Buffer.from(`${text}\0\0\0`);
const long = (n: number): Buffer => body(`select ${n} -- ${'x'.repeat(100 * KIB)}`);

describe('prepared statements of pooled clients', () => {
  it('of one text are one on servers, whatever the clients call it', () => {
    const registry = new StatementRegistry(new StatementMemory(1024 * KIB));
    const [a, b] = [new ClientStatements(registry), new ClientStatements(registry)];
    expect(a.add('mine', body('select 1'))).toBe(b.add('yours', body('select 1')));
    expect(registry.size).toBe(1);
  });

  it('of one target take a quarter of the memory, those of all no more than there is', () => {
    const memory = new StatementMemory(4_200 * KIB);
    const targets = Array.from({ length: 5 }, () => new StatementRegistry(memory));
    const clients = targets.map((registry) => new ClientStatements(registry));
    const added = clients.map((client) => {
      for (let n = 0; ; n++) if (!client.add(`s${n}`, long(n))) return n;
    });
    expect(added).toEqual([5, 5, 5, 5, 0]);
    expect(memory.held).toBeLessThanOrEqual(4_200 * KIB);
    // One that is there already takes nothing.
    expect(new ClientStatements(targets[0]!).add('other', long(0))).toBeDefined();
  });

  it('give all of it back with the last of their clients, whichever goes first', () => {
    const memory = new StatementMemory(8_000 * KIB);
    for (const closesFirst of [true, false]) {
      const registry = new StatementRegistry(memory);
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
