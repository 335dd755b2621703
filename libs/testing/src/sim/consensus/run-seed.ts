import { allMembers, type AppendLimits, type Membership, Proposer } from '@coppice/consensus';
import { AcceptorHost, newAcceptor } from '@coppice/consensus';
import type { NodeId, TimelineId } from '@coppice/vocabulary';
import { Network } from '../network';
import { World } from '../world';
import { Checker, Violation } from './checker';
import { offsetOf, START } from './model-wal';
import { SimAcceptor, type AcceptorCode } from './sim-acceptor';
import { SimProposer } from './sim-proposer';

/** The code under test; mutants put changed copies here. */
export interface ConsensusCode extends AcceptorCode {
  readonly Proposer: typeof Proposer;
}

export const consensusCode: ConsensusCode = { AcceptorHost, newAcceptor, Proposer };

export interface SeedReport {
  readonly seed: number;
  readonly committedBytes: number;
  readonly elections: number;
  readonly crashes: number;
}

const IDENTITY = {
  timeline: '00000000000000000000000000000001' as TimelineId,
  startLsn: START,
  systemId: 7n,
  pgVersion: 17,
};
const STORM = 3_000;
const CALM = 800;
const QUIET = 1_200;

/**
 * One run: a storm of crashes, partitions, bad network and rival proposers, then calm, in which a proposer must come to
 * lead and everybody must hold all that was committed. Throws `Violation`.
 */
export function runSeed(
  seed: number,
  code: ConsensusCode = consensusCode,
  trace: (line: () => string) => void = () => undefined,
): SeedReport {
  const world = new World(seed);
  const { random } = world;
  let storm = true;
  let [elections, crashes] = [0, 0];
  const rough = random.chance(0.7);
  const network = new Network(world, {
    loss: rough ? random.unit() * 0.05 : 0,
    duplication: rough ? random.unit() * 0.05 : 0,
    reordering: rough ? random.unit() * 0.1 : 0,
    minDelay: 1,
    maxDelay: random.between(2, 25),
  });
  const crashChance = random.chance(0.7) ? random.unit() * 0.02 : 0;
  const members = Array.from({ length: random.chance(0.8) ? 3 : 5 }, (_, i) => `sk-${i + 1}` as NodeId);
  const membership: Membership = { generation: 1, members };
  const appendBytes = random.pick([30, 60, 120]);
  const limits = (): AppendLimits => {
    const maxBytes = storm ? appendBytes : 500;
    return { maxBytes, maxInFlight: 12 * maxBytes };
  };
  const acceptors: SimAcceptor[] = [];
  const checker = new Checker(acceptors);
  for (const node of allMembers(membership)) {
    acceptors.push(
      new SimAcceptor({ node, world, code, checker, crashChance: () => (storm ? crashChance : 0) }),
    );
  }
  const running: SimProposer[] = [];
  const note = (line: () => string): void => trace(() => `${String(world.now).padStart(5)}  ${line()}`);

  const propose = (): void => {
    const name = `p${++elections}`;
    const proposer = new code.Proposer({ id: name, identity: IDENTITY, membership });
    const sim = new SimProposer({
      name,
      proposer,
      acceptors,
      world,
      network,
      checker,
      limits,
      trace: note,
      eager: random.chance(0.2),
    });
    running.push(sim);
    note(() => `${name} starts`);
    sim.start();
  };
  const restless = random.pick([150, 400, 900]);
  const rivals = (): void => {
    if (!storm) return;
    if (random.chance(0.5)) for (const sim of running) sim.stop();
    if (random.chance(0.6)) network.cut(`p${elections + 1}`, random.pick(acceptors).node);
    propose();
    world.after(random.between(30, restless), rivals);
  };
  const accidents = (): void => {
    if (!storm) return;
    if (random.chance(0.3)) {
      const victim = random.pick(acceptors);
      if (victim.alive) {
        crashes++;
        note(() => `${victim.node} is killed`);
        victim.crash();
        world.after(random.between(5, 400), () => victim.restart());
      }
    } else if (random.chance(0.5)) {
      const [a, b] = [
        random.pick(acceptors).node,
        random.pick([...acceptors.map(({ node }) => node), ...running.map(({ name }) => name)]),
      ];
      if (a !== b) network.cut(a, b);
    } else network.heal();
    world.after(random.between(20, 300), accidents);
  };
  rivals();
  accidents();
  world.run(STORM);

  storm = false;
  network.calm();
  const settle = (): void => {
    if (!running.some((sim) => !sim.over)) propose();
    world.after(300, settle);
  };
  settle();
  world.run(STORM + CALM);
  for (const sim of running) sim.finishWriting();
  world.run(STORM + CALM + QUIET);

  const leader = running.find((sim) => !sim.over && sim.proposer.phase === 'leading');
  if (!leader) throw new Violation('nobody leads after the storm');
  const missing = acceptors.filter(
    ({ node }) => leader.proposer.acknowledged(node) !== leader.proposer.commitLsn,
  );
  if (missing.length > 0) throw new Violation(`${missing.map(({ node }) => node).join(' ')} never caught up`);
  checker.finished();
  return { seed, committedBytes: offsetOf(checker.committedEnd), elections, crashes };
}

/** The last lines of what happened in a failing run. */
export function explainSeed(seed: number, code: ConsensusCode = consensusCode, lines = 60): string {
  const trace: string[] = [];
  try {
    runSeed(seed, code, (line) => {
      trace.push(line());
      if (trace.length > 4 * lines) trace.splice(0, trace.length - lines);
    });
  } catch (error) {
    trace.push(String(error));
  }
  return trace.slice(-lines).join('\n');
}
