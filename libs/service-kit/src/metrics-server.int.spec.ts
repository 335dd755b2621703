import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { silentLog } from './log';
import { Counter } from './metrics';
import { type MetricsServer, metricsServer } from './metrics-server';

const PATIENCE_MS = 300;
const MAX_CONNECTIONS = 2;
/** Longer than anything here should take. */
const LATE_MS = 20 * PATIENCE_MS;

const seen = new Counter({ name: 'coppice_test_seen_total', help: 'For the test.', labelNames: ['kind'] });

describe('the address of metrics', () => {
  let server: MetricsServer;
  const on = (metricsPort: number, token = ''): MetricsServer =>
    metricsServer({
      metricsHost: '127.0.0.1',
      metricsPort,
      metricsToken: token,
      log: silentLog(),
      maxConnections: MAX_CONNECTIONS,
      patienceMs: PATIENCE_MS,
    });
  const open: Socket[] = [];

  beforeEach(async () => {
    server = on(0);
    await server.start();
  });
  afterEach(async () => {
    for (const socket of open.splice(0)) socket.destroy();
    await server.stop();
  });

  const ask = (path: string, init?: RequestInit): Promise<Response> =>
    fetch(`${server.address}${path}`, { ...init, headers: { connection: 'close' } });
  const port = (): number => Number(new URL(server.address).port);
  /** A connection that says this and then nothing. */
  const silent = async (said: string): Promise<Socket> => {
    const socket = connect(port(), '127.0.0.1').on('error', () => undefined);
    open.push(socket);
    await new Promise((connected) => socket.once('connect', connected));
    socket.write(said);
    return socket;
  };
  const closed = (socket: Socket): Promise<boolean> => {
    socket.resume();
    return new Promise((resolve) => {
      const late = setTimeout(() => resolve(false), LATE_MS);
      socket.once('close', () => (clearTimeout(late), resolve(true)));
    });
  };

  it('asks for its token, when it has one, before it shows anything but that it lives', async () => {
    await server.stop();
    server = on(0, 'the-token');
    await server.start();
    const asked = (authorization: string): Promise<Response> =>
      fetch(`${server.address}/metrics`, { headers: { connection: 'close', authorization } });
    const refused = await ask('/metrics');
    expect([refused.status, await refused.text()]).toEqual([
      401,
      'send COPPICE_METRICS_TOKEN as the bearer token\n',
    ]);
    expect((await asked('Bearer the-tokem')).status).toBe(401);
    expect((await asked('Bearer the-token')).status).toBe(200);
    expect((await ask('/healthz')).status).toBe(200);
  });
  it('shows what the service counts as Prometheus text, and what its process uses', async () => {
    seen.inc({ kind: 'one' }, 3);
    const answer = await ask('/metrics');
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    const shown = await answer.text();
    expect(shown).toContain(
      '# TYPE coppice_test_seen_total counter\ncoppice_test_seen_total{kind="one"} 3\n',
    );
    expect(shown).toMatch(/^process_resident_memory_bytes \d+$/m);
    expect(shown).toMatch(/^process_open_fds \d+$/m);
  });

  it('says that the service lives', async () => {
    const answer = await ask('/healthz');
    expect([answer.status, await answer.text()]).toEqual([200, 'ok\n']);
  });

  it('answers nothing else, and says what it would', async () => {
    const lost = await ask('/metrics/../secrets');
    expect([lost.status, await lost.text()]).toEqual([404, 'there are /metrics and /healthz here\n']);
    const posted = await ask('/metrics', { method: 'POST', body: 'x' });
    expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  });

  it('cuts off who sends its request too slowly, and who says nothing', async () => {
    const [slow, mute] = [await silent('GET /metrics HTTP/1.1\r\nx: '), await silent('')];
    const dripping = setInterval(() => slow.write('y'), PATIENCE_MS / 10);
    slow.once('close', () => clearInterval(dripping));
    expect(await Promise.all([closed(slow), closed(mute)])).toEqual([true, true]);
    expect((await ask('/healthz')).status).toBe(200);
  });

  it('closes connections beyond the limit at once and serves those before them', async () => {
    const first = await silent('');
    await silent('');
    const beyond = await silent('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n');
    expect(await text(beyond).catch(() => '')).toBe('');
    first.write('GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    expect(await text(first)).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('names an address that somebody else listens on', async () => {
    await expect(on(port()).start()).rejects.toMatchObject({
      code: 'cannot-listen',
      message: `cannot listen on 127.0.0.1:${port()} (EADDRINUSE)`,
      remedy: 'Free the port or choose another.',
    });
  });

  it('stops at once whoever is connected, and can be started anew', async () => {
    const waiting = await silent('GET /metrics HTTP/1.1\r\n');
    const from = performance.now();
    await server.stop();
    expect(performance.now() - from).toBeLessThan(PATIENCE_MS);
    expect(await closed(waiting)).toBe(true);
    await expect(ask('/healthz')).rejects.toThrow('fetch failed');
    server = on(0);
    await server.start();
    expect((await ask('/healthz')).status).toBe(200);
  });
});
