import { CoppiceError, systemClock } from '@coppice/service-kit';
import { held } from './held-calls';

const away = (): CoppiceError => new CoppiceError('Unavailable', 'peer-unavailable', 'nobody listens');
const hold = (forMs: number, signal?: AbortSignal) => ({ clock: systemClock, forMs, signal });

/** Answers from the `n`th time on. */
function backAt(n: number): () => Promise<string> {
  let asked = 0;
  return () => (++asked < n ? Promise.reject(away()) : Promise.resolve(`asked ${asked} times`));
}

describe('a call for a client that is held', () => {
  it('waits for a control-plane that comes back', async () => {
    expect(await held(hold(5_000), backAt(3))).toBe('asked 3 times');
  });

  it('gives up in time on one that does not', async () => {
    const from = systemClock.monotonic();
    await expect(held(hold(250), backAt(1_000))).rejects.toMatchObject({ code: 'peer-unavailable' });
    expect(systemClock.monotonic() - from).toBeLessThan(1_000);
  });

  it('is not repeated when the control-plane said no', async () => {
    let asked = 0;
    const refuse = (): Promise<never> => {
      asked += 1;
      return Promise.reject(new CoppiceError('NotFound', 'endpoint-not-found', 'there is no such endpoint'));
    };
    await expect(held(hold(5_000), refuse)).rejects.toMatchObject({ code: 'endpoint-not-found' });
    expect(asked).toBe(1);
  });

  it('ends with its client', async () => {
    const gone = new AbortController();
    const call = held(hold(5_000, gone.signal), backAt(1_000));
    await systemClock.sleep(20);
    gone.abort(new Error('gone'));
    await expect(call).rejects.toThrow('gone');
  });
});
