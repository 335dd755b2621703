import { CoppiceError } from '@coppice/service-kit';
import { errorAnswer, QueryFailed, queryCancelled, requestTooLarge, responseTooLarge } from './sql-errors';

it("PostgreSQL's fields go under the driver's names, null where there are none", () => {
  const fields = new Map(
    Object.entries({ S: 'ERROR', C: '23505', M: 'duplicate', p: '3', n: 't_pkey', L: '7' }),
  );
  expect(errorAnswer(new QueryFailed(fields))).toEqual({
    status: 400,
    body: {
      message: 'duplicate',
      code: '23505',
      severity: 'ERROR',
      internalPosition: '3',
      constraint: 't_pkey',
      line: '7',
      ...Object.fromEntries(
        'detail hint position internalQuery where table column schema dataType file routine'
          .split(' ')
          .map((name) => [name, null]),
      ),
    },
  });
});

it.each([
  [queryCancelled(), 400, '08P01'],
  [requestTooLarge(10), 413, '22023'],
  [responseTooLarge(10), 507, '22023'],
  [new CoppiceError('Unauthenticated', 'wrong-password', 'no'), 400, '28P01'],
  [new CoppiceError('QuotaExceeded', 'quota-exceeded', 'no'), 400, '53400'],
  [new CoppiceError('Unavailable', 'queue-full', 'no'), 503, '57P03'],
  [new DOMException('late', 'TimeoutError'), 503, '57P03'],
  [new TypeError('x is not a function'), 500, 'XX000'],
])('%s has the status %d and the code %s', (error, status, code) => {
  expect(errorAnswer(error)).toMatchObject({ status, body: { code, severity: 'ERROR' } });
});

it('what went wrong inside is not told', () => {
  expect(JSON.stringify(errorAnswer(new Error('no column of /srv/secret')))).not.toContain('secret');
});
