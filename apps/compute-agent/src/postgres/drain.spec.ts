import { isBetweenCommands, waitedOn } from './drain';

const title = 'postgres: app shop [local] idle';
const syscall = '232 0x5 0x55d0c8 0x1 0xffffffff 0x0 0x0 0x7ffe 0x7f11';
/** Of a session that waits to read (EPOLLIN, EPOLLERR, EPOLLHUP), its latch and the postmaster's end. */
const waitsOn = [
  'pos:\t0',
  'flags:\t02000002',
  'tfd:        9 events:       19 data:     55d0c80 ',
  'tfd:        6 events:       19 data:     55d0c98 ',
  'tfd:        3 events:       19 data:     55d0cb0 ',
  '',
].join('\n');
const look = { title, syscall, waitsOn };

describe('a session is between two commands', () => {
  it('when it waits to read one', () => {
    expect(isBetweenCommands(look)).toBe(true);
    expect(isBetweenCommands({ ...look, syscall: '281 0x5 0x0 0x1 0x0' })).toBe(true);
  });
  it.each([
    ['works', { title: 'postgres: app shop [local] SELECT' }],
    ['has a transaction open', { title: 'postgres: app shop [local] idle in transaction' }],
    ['has one open that failed', { title: 'postgres: app shop [local] idle in transaction (aborted)' }],
    ['has begun to read', { syscall: '45 0x9 0x0 0x2000 0x0' }],
    ['has not stopped yet', { syscall: 'running' }],
    ['is in no call', { syscall: '-1 0x7ffe 0x7f11' }],
    ['still has a part of an answer to write', { waitsOn: waitsOn.replace('9 events:       19', '9 events:       1c') }],
    ['waits on nothing known', { waitsOn: undefined }],
    ['waits on nothing', { waitsOn: 'pos:\t0\n' }],
  ])('not when it %s', (_, change) => expect(isBetweenCommands({ ...look, ...change })).toBe(false));
  it('by its title where nothing else may be seen', () => {
    expect(isBetweenCommands({ title, syscall: undefined, waitsOn: undefined })).toBe(true);
  });
});

it('what an epoll call waits on is its first argument', () => {
  expect([syscall, '45 0x9', 'running', ''].map(waitedOn)).toEqual([5, undefined, undefined, undefined]);
});
