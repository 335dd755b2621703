import { firstPause, givesWay, nextPause } from './look-schedule';

/** The pauses between looks that see what they are given, from the start on. */
function pauses(...saw: boolean[]): number[] {
  let pause = 5_000;
  return [firstPause(5_000), ...saw.map((sawUse) => (pause = nextPause(pause, 5_000, sawUse)))];
}

describe('the looks at a compute', () => {
  it('begin when its start is long over', () => {
    expect(pauses()).toEqual([20_000]);
  });

  it('become rare while they see nothing, to a bound, and frequent again at the first use', () => {
    expect(pauses(true, true, false, false, false, false, true)).toEqual([
      20_000, 5_000, 5_000, 10_000, 20_000, 20_000, 20_000, 5_000,
    ]);
  });

  it('begin a minute after it at the latest, however many others start', () => {
    expect([givesWay(20_000, 5_000), givesWay(59_000, 5_000), givesWay(60_000, 5_000)]).toEqual([true, true, false]);
  });
});
