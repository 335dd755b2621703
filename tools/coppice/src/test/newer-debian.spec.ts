import { archiveIn } from './newer-debian';

describe('the archive that a machine uses', () => {
  it('is found in the stanza format, past its security archive', () => {
    const security = 'Types: deb\nURIs: http://m/sec\nSuites: bookworm-security\nComponents: main\n';
    const main =
      'Types: deb\n# a comment\nURIs: http://m/debian\nSuites: bookworm bookworm-updates\nSigned-By: /k.gpg\n';
    expect(archiveIn(`${security}\n${main}`, 'bookworm')).toEqual({
      uri: 'http://m/debian',
      signedBy: 'Signed-By: /k.gpg\n',
    });
  });

  it('is found in the line format, with and without options', () => {
    const lines = 'deb http://m/sec bookworm-security main\ndeb http://m/debian bookworm main contrib\n';
    expect(archiveIn(lines, 'bookworm')).toEqual({ uri: 'http://m/debian', signedBy: '' });
    expect(
      archiveIn('deb [arch=amd64 signed-by=/k.gpg] http://m/debian bookworm main\n', 'bookworm'),
    ).toEqual({
      uri: 'http://m/debian',
      signedBy: 'Signed-By: /k.gpg\n',
    });
  });

  it('is not there when another distribution is meant', () => {
    expect(archiveIn('deb http://m/ubuntu jammy main\n', 'bookworm')).toBeUndefined();
  });
});
