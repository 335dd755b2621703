import { failures } from './failures';

const counts = { numPassedTests: 1, numFailedTests: 1, numRuntimeErrorTestSuites: 0 };
const passed = { status: 'passed', fullName: 'a thing works', failureMessages: [] };

describe('what failed', () => {
  it('is named with its file and the beginning of what it said', () => {
    const message = ['\x1b[31mError: 3 of 4\x1b[39m', ...Array.from({ length: 50 }, (_, n) => `at ${n}`)];
    const failed = { status: 'failed', fullName: 'a thing ends', failureMessages: [message.join('\n')] };
    const testResults = [
      { name: '/root/libs/a.spec.ts', status: 'failed', message: '', assertionResults: [passed, failed] },
      { name: '/root/libs/b.spec.ts', status: 'passed', message: '', assertionResults: [passed] },
    ];
    const [one, ...others] = failures({ ...counts, testResults }, '/root');
    expect(others).toEqual([]);
    expect(one!.split('\n').slice(0, 3)).toEqual([
      'libs/a.spec.ts: a thing ends',
      '    Error: 3 of 4',
      '    at 0',
    ]);
    expect(one!.split('\n')).toHaveLength(13);
  });

  it('may be a file that could not be run at all', () => {
    const file = {
      name: '/root/a.spec.ts',
      status: 'failed',
      message: 'no such module',
      assertionResults: [],
    };
    expect(failures({ ...counts, testResults: [file] }, '/root')).toEqual(['a.spec.ts\n    no such module']);
  });

  it('is cut off where it is long', () => {
    const failed = { status: 'failed', fullName: 'x', failureMessages: null };
    const assertionResults = Array.from({ length: 60 }, () => failed);
    const testResults = [{ name: '/root/a.spec.ts', status: 'failed', message: '', assertionResults }];
    const named = failures({ ...counts, testResults }, '/root');
    expect([named.length, named.at(-1)]).toEqual([21, 'and 40 more']);
  });
});
