/** What a client says before its session begins: requests for encryption, or to cancel, and the startup packet. */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { FirstPacket } from '@coppice/postgres';
import { BadStartup, readFirstPacket } from '@coppice/postgres';
import type { CancelKeys } from './cancel/cancel-keys';
import type { ClientStream } from './client-stream';
import type { Tls } from './tls/certificate';

/** How a client came in, where that is not TCP. */
export interface Arrival {
  /** The host that it asked for, which stands for the server name of TLS. */
  readonly host: string | undefined;
  readonly address: string;
  /** Called once the client has shown a password. */
  readonly loggedIn: () => void;
}

export interface Startup {
  readonly parameters: ReadonlyMap<string, string>;
  readonly version: number;
  readonly serverName: string | undefined;
  /** Where the client is. */
  readonly address: string;
  readonly tls: Tls | undefined;
  /** Then the password comes in clear, within the encryption of what carries the session. */
  readonly arrival: Arrival | undefined;
}

export interface FirstPacketServices {
  readonly cancelKeys: Pick<CancelKeys, 'cancel'>;
  /** The certificate in force; `undefined`: TLS is not offered. */
  readonly tls: () => Tls | undefined;
}

const MAX_PACKETS = 4;

/** First packets up to the startup packet; `undefined` when there is no session to serve. */
export async function readStartup(
  client: ClientStream,
  services: FirstPacketServices,
  arrival: Arrival | undefined,
): Promise<Startup | undefined> {
  let tls: Tls | undefined;
  const address = arrival?.address ?? (client.socket as Socket).remoteAddress ?? '';
  for (let round = 0; round < MAX_PACKETS; round += 1) {
    const { packet }: { packet: FirstPacket } = await client.read(readFirstPacket);
    switch (packet.kind) {
      case 'cancel':
        await services.cancelKeys.cancel(packet, address);
        return undefined;
      case 'terminate':
        return undefined;
      case 'gssenc':
        client.write(Buffer.from('N'));
        break;
      case 'ssl': {
        const offered = arrival ? undefined : services.tls();
        if (tls || !offered) {
          client.write(Buffer.from('N'));
          break;
        }
        tls = offered;
        await startTls(client, offered);
        break;
      }
      case 'startup': {
        const { parameters, version } = packet;
        const serverName = arrival ? arrival.host : serverNameOf(client);
        return { parameters, version, serverName, address, tls, arrival };
      }
    }
  }
  throw new BadStartup('too many negotiation requests before the startup packet');
}

function serverNameOf(client: ClientStream): string | undefined {
  const { servername } = client.socket as { servername?: string | false };
  return typeof servername === 'string' ? servername : undefined;
}

async function startTls(client: ClientStream, { context }: Tls): Promise<void> {
  if (client.takeBuffered().length > 0) throw new BadStartup('received unencrypted data after SSL request');
  const plain = client.socket as Socket;
  plain.write('S');
  const secure = new TLSSocket(plain, {
    isServer: true,
    secureContext: context,
    ALPNProtocols: ['postgresql'],
  });
  client.socket = secure;
  secure.on('error', () => secure.destroy());
  await client.until('secure');
}
