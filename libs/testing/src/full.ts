/** Whether this is the long, nightly form of the tests (`./coppice test --full`): more seeds, more data, more time. */
export const FULL = process.env['COPPICE_TEST_FULL'] === 'true';
