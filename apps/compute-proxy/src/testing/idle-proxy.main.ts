/** A proxy in a process of its own, so that what its clients cost there can be told. Says its port, then its memory whenever it is asked. */
import { TestProxy } from '../proxy.fixture';

const [, , socketDirectory] = process.argv;

void TestProxy.start({
  loginTimeoutMs: 60_000,
  wake: async () => ({
    computeId: 'compute-1',
    socketDirectory: socketDirectory!,
    port: 5432,
    started: false,
  }),
}).then((proxy) => {
  process.on('message', () => {
    global.gc?.();
    process.send!({ serving: proxy.serving, ...process.memoryUsage() });
  });
  process.once('disconnect', () => void proxy.stop());
  process.send!({ port: proxy.port });
});
