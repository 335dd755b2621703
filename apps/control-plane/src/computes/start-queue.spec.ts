import type { AgentNode } from '@coppice/catalog';
import { asCoppiceError, silentLog, systemClock } from '@coppice/service-kit';
import type { NodeId } from '@coppice/vocabulary';
import { expectedBytes } from './compute-memory';
import { StartQueue, type StartQueueLimits } from './start-queue';

const node = (id: string, over: Partial<AgentNode> = {}) =>
  ({
    id,
    computes: 0,
    used_bytes: 0,
    starts_at_once: 2,
    max_computes: 200,
    memory_bytes: null,
    ...over,
  }) as AgentNode;

/** A line whose starts are noted as they begin, and last until they are let finish. */
class Line {
  readonly begun: string[] = [];
  readonly shortages: unknown[] = [];
  most = 0;
  nodes: AgentNode[];
  readonly queue: StartQueue;
  readonly #finish: (() => void)[] = [];

  constructor(nodes: AgentNode[], limits: Partial<StartQueueLimits> = {}) {
    this.nodes = nodes;
    this.queue = new StartQueue({
      agents: async () => this.nodes,
      makeRoom: { begin: (shortages) => void this.shortages.push(shortages) },
      clock: systemClock,
      log: silentLog(),
      limits: { length: 1_000, waitMs: 5_000, ...limits },
    });
    lines.push(this);
    void this.queue.asPart().start();
  }

  start(agentId: string, signal = new AbortController().signal, computeUnits = 0.25): Promise<NodeId> {
    const wanted = { what: agentId, agentId, computeUnits, failedOn: new Set<NodeId>() };
    return this.queue.run(wanted, signal, async ({ node: { id } }) => {
      this.begun.push(agentId);
      this.most = Math.max(this.most, this.#finish.length + 1);
      await new Promise<void>((resolve) => this.#finish.push(resolve));
      return id;
    });
  }

  /** Lets what is begun finish, again and again, until nothing is left. */
  async drain(): Promise<void> {
    while (this.#finish.length > 0 || this.queue.waiting > 0) {
      this.#finish.splice(0).forEach((finish) => finish());
      await systemClock.sleep(1);
    }
  }

  async until(begun: number): Promise<void> {
    while (this.begun.length < begun) await systemClock.sleep(1);
  }
}

const lines: Line[] = [];
afterEach(async () => {
  for (const line of lines.splice(0)) {
    await line.drain();
    await line.queue.asPart().stop();
  }
});
const refusal = async (work: Promise<unknown>) =>
  asCoppiceError(
    await work.then(
      () => new Error('not refused'),
      (error: unknown) => error,
    ),
  );

describe('the line of starts', () => {
  it('has no more under way than the nodes want', async () => {
    const line = new Line([node('agent-1'), node('agent-2', { starts_at_once: 3 })]);
    const all = Array.from({ length: 20 }, () => line.start('x'));
    await line.until(5);
    await systemClock.sleep(20);
    expect([line.begun.length, line.queue.waiting]).toEqual([5, 15]);
    await line.drain();
    await Promise.all(all);
    expect(line.most).toBe(5);
  });

  it('lets one of another agent go after the next of a storm', async () => {
    const line = new Line([node('agent-1')]);
    const all = Array.from({ length: 100 }, () => line.start('storm'));
    await line.until(2);
    all.push(line.start('single'));
    await line.drain();
    await Promise.all(all);
    expect(line.begun.indexOf('single')).toBeLessThan(4);
  });

  it('forgets who leaves it, and not who has begun', async () => {
    const line = new Line([node('agent-1', { starts_at_once: 1 })]);
    const [first, second] = [new AbortController(), new AbortController()];
    const begun = line.start('x', first.signal);
    await line.until(1);
    const left = refusal(line.start('y', second.signal));
    first.abort(new Error('gone'));
    second.abort(new Error('gone'));
    expect((await left).message).toBe('gone');
    expect(line.queue.waiting).toBe(0);
    await line.drain();
    expect(await begun).toBe('agent-1');
    expect(line.begun).toEqual(['x']);
  });

  it('refuses beyond its bound, those who have most of it first', async () => {
    const line = new Line([node('agent-1', { starts_at_once: 1 })], { length: 3 });
    const first = line.start('storm');
    await line.until(1);
    const storm = [1, 2, 3].map(() => line.start('storm').catch(asCoppiceError));
    const full = await refusal(line.start('storm'));
    expect(full).toMatchObject({ kind: 'Unavailable', code: 'start-queue-full' });
    expect(full.remedy).toContain('fewer endpoints at once');
    const single = line.start('single');
    expect(await storm[2]).toMatchObject({ code: 'start-queue-full' });
    await line.drain();
    expect(await Promise.all([first, single, storm[0], storm[1]])).toEqual(Array(4).fill('agent-1'));
  });

  it('refuses who waited too long with what it waited for', async () => {
    const line = new Line([node('agent-1', { starts_at_once: 1 })], { waitMs: 60 });
    void line.start('x');
    await line.until(1);
    expect(await refusal(line.start('y'))).toMatchObject({
      kind: 'Unavailable',
      code: 'start-queue-timeout',
    });
    expect((await refusal(new Line([], { waitMs: 60 }).start('x'))).code).toBe('no-compute-agent');
  });

  it('has room made where there is none, and says so when there comes none', async () => {
    const whole = 2 * expectedBytes(0.25);
    const full = node('agent-1', { computes: 1, used_bytes: whole - 10, memory_bytes: whole });
    const line = new Line([full], { waitMs: 300 });
    const waits = line.start('x');
    const refused = await refusal(waits);
    expect(line.shortages[0]).toEqual([{ node: 'agent-1', computes: 0, bytes: expectedBytes(0.25) - 10 }]);
    expect(refused).toMatchObject({ kind: 'Unavailable', code: 'no-room-for-compute' });
    expect(refused.remedy).toContain('COPPICE_AGENT_MEMORY_BYTES');
    const later = line.start('x');
    line.nodes = [node('agent-1')];
    await line.until(1);
    await line.drain();
    expect(await later).toBe('agent-1');
  });

  it('refuses at once what no node could hold if it were empty, and goes on', async () => {
    const line = new Line([node('agent-1', { memory_bytes: expectedBytes(1) })], { waitMs: 5_000 });
    const began = systemClock.monotonic();
    const large = await refusal(line.start('x', undefined, 16));
    expect(large).toMatchObject({ kind: 'Unavailable', code: 'compute-too-large' });
    expect(large.message).toContain('56 MiB for computes');
    expect(systemClock.monotonic() - began).toBeLessThan(1_000);
    const small = line.start('x');
    await line.until(1);
    await line.drain();
    expect(await small).toBe('agent-1');
  });

  it('tells each what it waits for itself', async () => {
    const full = node('agent-1', { used_bytes: expectedBytes(1), memory_bytes: 2 * expectedBytes(1) });
    const line = new Line([full], { waitMs: 300 });
    const [large, small] = [line.start('x', undefined, 2), line.start('y')].map(refusal);
    expect((await large!).code).toBe('no-room-for-compute');
    expect((await large!).message).toContain('88 MiB');
    expect((await small!).message).toContain('32 MiB');
  });

  it('counts what it has begun while the metadata does not have it yet', async () => {
    const line = new Line([node('agent-1', { starts_at_once: 10, memory_bytes: expectedBytes(0.25) * 2.5 })]);
    const all = [1, 2, 3].map(() => line.start('x'));
    await line.until(2);
    await systemClock.sleep(20);
    expect(line.begun).toHaveLength(2);
    await line.drain();
    await Promise.all(all);
  });
});
