import { processMemory, serverBytes } from './server-memory';

const STATUS = `Name:\tpostgres
VmRSS:\t   34720 kB
RssAnon:\t    2012 kB
RssFile:\t   14016 kB
RssShmem:\t   18692 kB
Threads:\t1
`;

describe('the memory of a server', () => {
  it('is what each process has of its own, and what they share once', () => {
    const one = processMemory(STATUS)!;
    expect(one).toEqual({ anonymousBytes: 2012 * 1024, sharedBytes: 18_692 * 1024 });
    const other = { anonymousBytes: 1024, sharedBytes: 4096 };
    expect(serverBytes([one, other])).toBe((2012 + 1 + 18_692) * 1024);
  });
  it('has nothing of processes that are ending', () => {
    expect(processMemory('Name:\tpostgres\nState:\tZ (zombie)\n')).toBeUndefined();
    expect(serverBytes([])).toBe(0);
  });
});
