import type { BranchId, EndpointId } from '@coppice/vocabulary';
import { Client } from 'pg';
import { connectionUri } from './connection-uri';
import { base62, Passwords, scramVerifier } from './passwords';
import { setupStatements } from './setup-sql';

const of = (branch: string, role = 'neondb_owner', version = 1) => ({
  branchId: branch as BranchId,
  role,
  version,
});

describe('a password', () => {
  const passwords = new Passwords('secret');

  it('is the same each time and differs by branch, role, version and secret', () => {
    const all = [
      passwords.derive(of('br-a-a-1')),
      passwords.derive(of('br-a-a-2')),
      passwords.derive(of('br-a-a-1', 'other')),
      passwords.derive(of('br-a-a-1', 'neondb_owner', 2)),
      new Passwords('another').derive(of('br-a-a-1')),
    ];
    expect(new Set(all).size).toBe(all.length);
    expect(passwords.derive(of('br-a-a-1'))).toBe(all[0]);
    for (const one of all) expect(one).toMatch(/^npg_[0-9A-Za-z]{43}$/);
  });

  it('spells a number in base 62', () => {
    expect(base62(Buffer.from([61]), 2)).toBe('0z');
    expect(base62(Buffer.from([62]), 2)).toBe('10');
    expect(base62(Buffer.alloc(32, 0xff), 43)).toHaveLength(43);
  });

  it('has a verifier whose versions share one salt', async () => {
    const [one, two] = [
      await passwords.verifier(of('br-a-a-1')),
      await passwords.verifier(of('br-a-a-1', 'neondb_owner', 2)),
    ];
    expect(one.salt).toEqual(two.salt);
    expect(one.storedKey).not.toEqual(two.storedKey);
  });

  it('is verified as RFC 7677 says', async () => {
    const v = await scramVerifier('pencil', Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'), 4096);
    expect(v.storedKey.toString('base64')).toBe('WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=');
    expect(v.serverKey.toString('base64')).toBe('wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=');
  });
});

describe('a connection string', () => {
  const to = {
    endpoint: 'ep-a-b-1' as EndpointId,
    database: 'my db',
    role: "o'b",
    password: 'p',
    pooled: true,
  };

  it('names the endpoint in the host when there is a domain', () => {
    const made = connectionUri({ host: 'x', port: 5432, domain: 'db.example', sslMode: 'require' }, to);
    expect(made.uri).toBe("postgresql://o'b:p@ep-a-b-1-pooler.db.example/my%20db?sslmode=require");
  });

  it('names it in the options when there is none', () => {
    const made = connectionUri(
      { host: '127.0.0.1', port: 7432, domain: '', sslMode: '' },
      { ...to, pooled: false },
    );
    expect(made.uri).toBe("postgresql://o'b:p@127.0.0.1:7432/my%20db?options=endpoint%3Dep-a-b-1");
  });
});

describe('the database in a connection string', () => {
  const uri = (database: string) =>
    connectionUri(
      { host: 'h', port: 5432, domain: 'd', sslMode: '' },
      { endpoint: 'ep-a-b-1' as EndpointId, database, role: 'r', password: 'p', pooled: false },
    ).uri;

  it('is read back by drivers, whatever its name', () => {
    for (const name of [`a"b'; drop x = 1, 2`, 'back\\slash', '100%', 'ünï 🌳', '%41', '$a:b@c&d+e'])
      expect(new Client({ connectionString: uri(name) }).database).toBe(name);
    expect(new URL(uri('a/b?c#d')).pathname).toBe('/a%2Fb%3Fc%23d');
  });
});

describe('set-up statements', () => {
  it("are none for the template's own names, and quote every other", () => {
    expect(setupStatements('neondb_owner', 'neondb')).toEqual([]);
    const [role, database] = setupStatements("o'b", 'shop');
    expect(role).toContain("'o''b'");
    expect(database).toContain('alter database %I rename to %I');
  });
});
