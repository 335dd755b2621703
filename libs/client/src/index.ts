export { createClient, type ClientCall, type ClientOptions, type CoppiceClient } from './create-client';
export { DEFAULT_RETRIES, type RetryPolicy } from './retry';
export { CoppiceError, type ErrorKind } from '@coppice/service-kit';
export { formatLsn, parseLsn, type Lsn } from '@coppice/vocabulary';
