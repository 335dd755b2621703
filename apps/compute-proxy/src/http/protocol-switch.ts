/**
 * What stands in front of the HTTP server: counts connections, and tells TLS from plain HTTP by the first byte, so that one port
 * serves both. Plain HTTP carries passwords in clear: it is for clients on this machine, or behind something that ends TLS.
 *
 *   first byte  0x16 → TLS → ALPN h2 → HTTP/2, else HTTP/1.1      else → HTTP/1.1, when it may be plain
 */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { after } from '@coppice/service-kit';
import { endSoon } from '../client-stream';
import type { Tls } from '../tls/certificate';
import { plainAnswer } from './plain-answer';

export interface ProtocolSwitchOptions {
  readonly maxConnections: number;
  /** For the first byte and the TLS handshake, milliseconds. */
  readonly handshakeMs: number;
  readonly allowPlain: boolean;
  readonly tls: () => Tls | undefined;
  readonly http1: (socket: Socket) => void;
  readonly http2: (socket: Socket) => void;
}

const TLS_HANDSHAKE = 0x16;

export class ProtocolSwitch {
  readonly #o: ProtocolSwitchOptions;
  readonly #open = new Set<Socket>();

  constructor(options: ProtocolSwitchOptions) {
    this.#o = options;
  }

  accept(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    if (this.#open.size >= this.#o.maxConnections)
      return endSoon(socket, Buffer.from(plainAnswer('too-many-connections')));
    this.#open.add(socket);
    const late = after(this.#o.handshakeMs, () => socket.destroy());
    socket.once('close', () => {
      late();
      this.#open.delete(socket);
    });
    const onReadable = (): void => {
      const first = socket.read(1) as Buffer | null;
      if (!first) return;
      socket.off('readable', onReadable);
      socket.unshift(first);
      if (first[0] === TLS_HANDSHAKE) return this.#startTls(socket, late);
      late();
      if (this.#o.allowPlain || isLoopback(socket.remoteAddress)) this.#o.http1(socket);
      else endSoon(socket, Buffer.from(plainAnswer('tls-required')));
    };
    socket.on('readable', onReadable);
  }

  #startTls(socket: Socket, done: () => void): void {
    const tls = this.#o.tls();
    if (!tls) return void socket.destroy();
    const secure = new TLSSocket(socket, {
      isServer: true,
      secureContext: tls.context,
      ALPNProtocols: ['h2', 'http/1.1'],
    });
    secure.on('error', () => socket.destroy());
    secure.once('secure', () => {
      done();
      if (secure.alpnProtocol !== 'h2') return this.#o.http1(secure);
      this.#o.http2(secure);
      // What Node's HTTP/2 waits for on a socket whose handshake it did not order itself.
      secure.emit('secureConnect');
    });
  }

  /** Cuts all connections off. */
  closeAll(): void {
    for (const socket of this.#open) socket.destroy();
  }
}

function isLoopback(address: string | undefined): boolean {
  return address !== undefined && /^(?:::ffff:)?127\.|^::1$/.test(address);
}
