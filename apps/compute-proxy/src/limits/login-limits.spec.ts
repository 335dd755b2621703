import { LoginLimits } from './login-limits';

const CONFIG = {
  endpointConnections: 3,
  agentConnections: 4,
  endpointLogins: 10,
  addressLogins: 5,
};

function limitsAt(over: Partial<typeof CONFIG> = {}) {
  const clock = { at: 1_000, monotonic: () => clock.at, now: () => clock.at, sleep: () => Promise.resolve() };
  return { clock, limits: new LoginLimits({ ...CONFIG, ...over }, clock) };
}

/** How many of 200 logins are let in. */
const letIn = (login: (n: number) => void): number => {
  for (let n = 0; n < 200; n += 1) {
    try {
      login(n);
    } catch (error) {
      expect(error).toMatchObject({ kind: 'QuotaExceeded', code: 'login-rate-exceeded' });
      return n;
    }
  }
  return 200;
};

describe('limits on logins', () => {
  it('refuses one connection more than an endpoint may have, until one is closed', () => {
    const { limits } = limitsAt();
    const leave = limits.enter('ep-a', 'one');
    limits.enter('ep-a', 'one');
    limits.enter('ep-a', 'one');
    expect(() => limits.enter('ep-a', 'one')).toThrow(
      expect.objectContaining({
        code: 'too-many-connections',
        sqlstate: '53300',
        remedy: expect.any(String),
      }),
    );
    leave();
    limits.enter('ep-a', 'one');
  });
  it('counts the endpoints of an agent together', () => {
    const { limits } = limitsAt();
    for (const endpoint of ['ep-a', 'ep-b', 'ep-c', 'ep-d']) limits.enter(endpoint, 'one');
    expect(() => limits.enter('ep-e', 'one')).toThrow("the agent's endpoints have 4 connections");
    limits.enter('ep-e', 'another');
  });
  it('slows down an address, whatever endpoints it goes to, and lets it in again later', () => {
    const { clock, limits } = limitsAt();
    expect(letIn((n) => limits.login(`ep-${n}`, '10.0.0.1'))).toBe(50);
    limits.login('ep-a', '10.0.0.2');
    clock.at += 1_000;
    expect(letIn((n) => limits.login(`ep-${n}`, '10.0.0.1'))).toBe(5);
  });
  it('slows down an endpoint, whatever addresses it is called from', () => {
    const { limits } = limitsAt();
    expect(letIn((n) => limits.login('ep-a', `10.0.0.${n}`))).toBe(100);
    limits.login('ep-b', '10.0.0.1');
  });
  it('does not remember more than a bound', () => {
    const { limits } = limitsAt({ endpointLogins: 1_000_000, addressLogins: 1 });
    expect(letIn(() => limits.login('ep-a', 'known'))).toBe(10);
    for (let n = 0; n < 50_000; n += 1) limits.login('ep-a', `address ${n}`);
    limits.login('ep-a', 'known');
  });
});
