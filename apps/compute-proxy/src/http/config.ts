import { configTable } from '@coppice/service-kit';

/** Settings of HTTP and WebSockets. */
export const HTTP_CONFIG = configTable({
  httpHost: {
    env: 'COPPICE_PROXY_HTTP_HOST',
    type: 'string',
    default: '127.0.0.1',
    about: 'Address to listen on for HTTP and WebSockets.',
  },
  httpPort: {
    env: 'COPPICE_PROXY_HTTP_PORT',
    type: 'integer',
    min: 1,
    max: 65535,
    default: 7433,
    about: 'Port for HTTP and WebSockets, plain and, with a certificate, TLS.',
  },
  httpAllowPlain: {
    env: 'COPPICE_PROXY_HTTP_ALLOW_PLAIN',
    type: 'boolean',
    default: false,
    about:
      'Whether other machines may come without TLS, which shows their passwords; for what stands behind something that ends TLS.',
  },
  httpMaxConnections: {
    env: 'COPPICE_PROXY_HTTP_MAX_CONNECTIONS',
    type: 'integer',
    min: 1,
    max: 100_000,
    default: 10_000,
    about: 'HTTP and WebSocket connections at once.',
  },
  httpReceiveTimeoutMs: {
    env: 'COPPICE_PROXY_HTTP_RECEIVE_TIMEOUT_MS',
    type: 'integer',
    min: 100,
    max: 600_000,
    default: 30_000,
    about: 'Time for a client to send a whole HTTP request, milliseconds.',
  },
  httpMaxRequestBytes: {
    env: 'COPPICE_PROXY_HTTP_MAX_REQUEST_BYTES',
    type: 'integer',
    min: 1_024,
    max: 1_073_741_824,
    default: 10_485_760,
    about: 'Largest body of a request, and largest WebSocket message, bytes.',
  },
  httpMaxResponseBytes: {
    env: 'COPPICE_PROXY_HTTP_MAX_RESPONSE_BYTES',
    type: 'integer',
    min: 1_024,
    max: 268_435_456,
    default: 10_485_760,
    about: 'Largest answer over HTTP, bytes.',
  },
  httpMemoryBytes: {
    env: 'COPPICE_PROXY_HTTP_MEMORY_BYTES',
    type: 'integer',
    min: 1_048_576,
    max: 68_719_476_736,
    default: 268_435_456,
    about: 'Bytes of HTTP requests and answers, and of WebSocket messages, held at once in all.',
  },
  guessesPerSecond: {
    env: 'COPPICE_PROXY_GUESSES_PER_SECOND',
    type: 'integer',
    min: 1,
    max: 10_000,
    default: 1,
    about: 'Wrong passwords over HTTP a second from one address for one role of an endpoint.',
  },
  guessBurst: {
    env: 'COPPICE_PROXY_GUESS_BURST',
    type: 'integer',
    min: 1,
    max: 10_000,
    default: 10,
    about: 'Wrong passwords in a row before that rate holds.',
  },
});
