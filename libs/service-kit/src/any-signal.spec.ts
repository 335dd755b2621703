import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { anySignal } from './any-signal';
import { withDeadline } from './clock';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const MS = 100;

describe('a deadline beside another signal fires though memory is collected meanwhile', () => {
  /** Whether it fires, when nothing but a listener refers to it. */
  const isHeard = (make: () => AbortSignal): (() => boolean) => {
    let heard = false;
    make().addEventListener('abort', () => (heard = true));
    return () => heard;
  };
  const caller = new AbortController();

  it.each([
    ['alone', () => withDeadline(MS)],
    ['with another', () => withDeadline(MS, caller.signal)],
    ['within another deadline', () => withDeadline(60_000, withDeadline(MS, caller.signal))],
    [
      'within another signal',
      () => anySignal([new AbortController().signal, withDeadline(MS, caller.signal)]),
    ],
  ])('%s', async (_, make) => {
    const [heard, asked] = [isHeard(make), make()];
    for (let n = 0; n < 5; n += 1) {
      collect();
      await sleep(5);
    }
    await sleep(2 * MS);
    expect([heard(), asked.aborted]).toEqual([true, true]);
  });
});

it('a signal fires with the first of its signals, and says why', () => {
  const [one, other] = [new AbortController(), new AbortController()];
  const any = anySignal([one.signal, other.signal]);
  expect(any.aborted).toBe(false);
  other.abort(new Error('enough'));
  expect([any.aborted, (any.reason as Error).message]).toEqual([true, 'enough']);
});
