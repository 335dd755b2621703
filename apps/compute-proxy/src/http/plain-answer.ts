/** Answers to connections whose request cannot be read, or is not to be, with their heads. */
const ANSWERS = {
  'bad-request': ['400 Bad Request', 'the request is not HTTP'],
  'tls-required': ['400 Bad Request', 'this port wants TLS: use https:// or wss://'],
  'request-timeout': ['408 Request Timeout', 'the request did not arrive in time'],
  'headers-too-large': ['431 Request Header Fields Too Large', 'the address and headers are too large'],
  'too-many-connections': [
    '503 Service Unavailable',
    'this proxy serves as many HTTP connections as it may already; close idle ones and try again',
  ],
} as const;

const CODES: Readonly<Record<string, keyof typeof ANSWERS>> = {
  HPE_HEADER_OVERFLOW: 'headers-too-large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request-timeout',
};

export function plainAnswer(what: keyof typeof ANSWERS): string {
  const [status, message] = ANSWERS[what];
  const body = JSON.stringify({ message });
  return [
    `HTTP/1.1 ${status}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Access-Control-Allow-Origin: *',
    'Connection: close',
    '',
    body,
  ].join('\r\n');
}

/** For an error of Node's HTTP parser. */
export const unreadable = (code: string | undefined): string =>
  plainAnswer(CODES[code ?? ''] ?? 'bad-request');
