/** The API as a load generator calls it: connections that are kept, and little CPU, which the services need. */
import { Agent, request } from 'node:http';
import type { Stack } from '@coppice/testing';

export interface ApiLoad {
  /** A POST that must succeed; its answer is read and not looked at. */
  post(path: string, body: unknown): Promise<void>;
  close(): void;
}

export function apiLoad(stack: Stack, connections: number): ApiLoad {
  const { api, apiKey } = stack.file;
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const { hostname, port, pathname } = new URL(api);
  const post = (path: string, body: unknown): Promise<void> =>
    new Promise((resolve, reject) => {
      const text = JSON.stringify(body);
      const headers = {
        authorization: `Bearer ${apiKey}`,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
      };
      request({ agent, hostname, port, method: 'POST', path: pathname + path, headers }, (response) => {
        response
          .once('error', reject)
          .once('end', () =>
            response.statusCode === 201
              ? resolve()
              : reject(new Error(`POST ${path}: ${response.statusCode}`)),
          )
          .resume();
      })
        .once('error', reject)
        .end(text);
    });
  return { post, close: () => agent.destroy() };
}
