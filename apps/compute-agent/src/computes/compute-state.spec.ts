import { isOver, nextState, type ComputeEvent } from './compute-state';

const EVENTS: readonly ComputeEvent[] = ['start', 'ready', 'stop', 'ended', 'fail'];

describe('compute state', () => {
  it('goes from empty to stopped in order', () => {
    const path = (['start', 'ready', 'stop', 'ended'] as const).reduce((s, e) => nextState(s, e), 'empty' as ReturnType<typeof nextState>);
    expect(path).toBe('stopped');
  });

  it('can fail from every state that is not over', () => {
    for (const state of ['empty', 'preparing', 'running', 'stopping'] as const) expect(nextState(state, 'fail')).toBe('failed');
  });

  it('never leaves an end', () => {
    for (const state of ['stopped', 'failed'] as const) {
      expect(isOver(state)).toBe(true);
      for (const event of EVENTS) expect(() => nextState(state, event)).toThrow(/cannot take/);
    }
  });

  it('is not ready before it was started, nor twice', () => {
    expect(() => nextState('empty', 'ready')).toThrow(/empty cannot take "ready"/);
    expect(() => nextState('running', 'ready')).toThrow(/running cannot take "ready"/);
  });
});
