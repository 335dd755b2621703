import { loadMutant, type Edit } from '../mutant';
import { runSeed, type ConsensusCode } from './run-seed';

const SEEDS = 1500;

/** The first seed at which the simulation objects. */
function caughtBy(code: ConsensusCode): { seed: number; because: string } | undefined {
  for (let seed = 1; seed <= SEEDS; seed++) {
    try {
      runSeed(seed, code);
    } catch (error) {
      return { seed, because: (error as Error).message };
    }
  }
  return undefined;
}

const mutants: Record<string, readonly Edit[]> = {
  'a vote is told before it is persisted': [
    {
      file: 'acceptor',
      find: "save: higher,\n    state: next,\n    reply: {\n      kind: 'vote-response'",
      replace: "save: false,\n    state: next,\n    reply: {\n      kind: 'vote-response'",
    },
  ],
  'a term may have two votes': [
    {
      file: 'acceptor',
      find: 'const granted = higher ||',
      replace: 'const granted = message.term === state.term || higher ||',
    },
  ],
  'appends are acknowledged before the flush': [
    { file: 'acceptor-host', find: '    try {\n      this.#storage.flush();', replace: '    try {' },
    { file: 'acceptor-host', find: 'if (step.flush) this.#storage.flush();', replace: '' },
  ],
  'appends may leave gaps or write over (rule 4)': [
    { file: 'acceptor', find: 'message.begin !== log.written', replace: 'false' },
  ],
  'an acceptor cuts its log where it is told (rule 5)': [
    {
      file: 'acceptor',
      find: 'const divergence = pointOfDivergence(message.history, state.history, log.recordEnd);',
      replace: 'const divergence = message.continueAt;',
    },
  ],
  'a majority below the start of the term commits (rule 6)': [
    { file: 'proposer', find: ' || reached < this.#startLsn!', replace: '' },
  ],
  'the longest log wins, whatever its term': [
    {
      file: 'proposer',
      find: 'tb > ta || (tb === ta && b.recordEnd > a.recordEnd)',
      replace: 'b.recordEnd > a.recordEnd',
    },
  ],
  'a commit is believed beyond the own log (rule 7)': [
    { file: 'acceptor', find: 'minLsn(committed, log.recordEnd)', replace: 'committed' },
  ],
};

describe('a simulation without one of the rules', () => {
  it.each(Object.entries(mutants))('is caught: %s', (_, edits) => {
    expect(caughtBy(loadMutant<ConsensusCode>('libs/consensus/src', edits))).toBeDefined();
  });

  it('is not caught when nothing is changed', () => {
    const code = loadMutant<ConsensusCode>('libs/consensus/src', []);
    for (let seed = 1; seed <= 20; seed++) runSeed(seed, code);
  });
});
