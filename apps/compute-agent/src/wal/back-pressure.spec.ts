import { silentLog, systemClock } from '@coppice/service-kit';
import { type Lsn, lsn } from '@coppice/vocabulary';
import { BackPressure } from './back-pressure';

function pressure(answers: Lsn[]): { it: BackPressure; allowed: Lsn[] } {
  const allowed: Lsn[] = [];
  const it = new BackPressure({
    start: lsn(1000n),
    maxLagBytes: 100,
    askIngested: async () => answers.shift() ?? lsn(0n),
    onAllowed: (position) => allowed.push(position),
    clock: systemClock,
    log: silentLog(),
  });
  return { it, allowed };
}

describe('back-pressure', () => {
  it('lets commits through while the pageserver is near', () => {
    const { it: p, allowed } = pressure([]);
    p.committed(lsn(1040n));
    expect(allowed).toEqual([1040n]);
    p.stop();
  });

  it('holds acknowledgements at the limit until the pageserver has moved', async () => {
    const { it: p, allowed } = pressure([lsn(1150n)]);
    p.committed(lsn(1300n));
    expect(allowed).toEqual([1100n]);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(allowed).toEqual([1100n, 1250n]);
    p.ingested(lsn(1280n));
    expect(p.allowed).toBe(1300n);
    p.stop();
  });

  it('never takes an acknowledgement back, and lets everything go when lifted', () => {
    const { it: p, allowed } = pressure([]);
    p.committed(lsn(1050n));
    p.committed(lsn(1020n));
    p.committed(lsn(5000n));
    p.lift();
    expect(allowed).toEqual([1050n, 1100n, 5000n]);
    p.stop();
  });
});
