import { silentLog, systemClock } from '@coppice/service-kit';
import type { EndpointId } from '@coppice/vocabulary';
import { WakeCompute, type WakeServices } from './wake-compute';

const id = 'ep-a-b-1' as EndpointId;

describe('a wake', () => {
  it('whose caller is gone begins nothing, whose failure would be nobody’s', async () => {
    let looked = 0;
    const db = new Proxy({}, { get: () => ((looked += 1), undefined) });
    const wake = new WakeCompute({
      db,
      clock: systemClock,
      log: silentLog(),
      limits: { agentDeadAfterMs: 1_000, wakeTimeoutMs: 1_000 },
    } as unknown as WakeServices);
    const unhandled: unknown[] = [];
    const note = (error: unknown): void => void unhandled.push(error);
    process.on('unhandledRejection', note);
    await expect(wake.wake(id, AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
    await new Promise((resolve) => setTimeout(resolve, 20));
    process.off('unhandledRejection', note);
    expect(looked).toBe(0);
    expect(unhandled).toEqual([]);
  });
});
